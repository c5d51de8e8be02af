"""BLOCKHASH to BLOBBASEFEE."""

from __future__ import annotations

from vm.evm.builder import Emitter
from vm.evm.emitters.registry import Emit, opcode
from vm.evm.layout import Env


def _env(word: Env) -> Emit:
    return lambda c: c.push(c.env(word))


for _word in (
    Env.COINBASE,
    Env.TIMESTAMP,
    Env.NUMBER,
    Env.PREVRANDAO,
    Env.GASLIMIT,
    Env.CHAINID,
    Env.BASEFEE,
    Env.BLOBBASEFEE,
):
    opcode(_word.name)(_env(_word))


@opcode("BLOCKHASH", "BLOBHASH")
def _lookup(c: Emitter) -> None:
    c.host()


@opcode("SELFBALANCE")
def _selfbalance(c: Emitter) -> None:
    c.host()
