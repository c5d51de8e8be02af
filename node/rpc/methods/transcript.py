"""The transcript: switching it on and off, console.log of mined transactions, and the ABIs that give it names."""

from __future__ import annotations

from chain.state import EMPTY_CODE_HASH
from chain.types import Address, Hash32
from node.api.errors import CheatsDisabled, InvalidParams
from node.rpc.context import Context
from node.rpc.errors import UnknownTransaction
from node.rpc.params import JsonList
from node.rpc.registry import Scope, method
from node.tracers.console import ConsoleTracer

NAME_CHARACTERS_MAX = 200


@method("anvil_setLoggingEnabled")
def set_logging_enabled(context: Context, enabled: bool) -> None:
    """Whether transactions, failed calls and console.log are printed, until the node stops."""
    transcript = context.need_transcript()
    if not transcript.switchable:
        raise CheatsDisabled("set logging enabled: this is not a development chain")
    transcript.switch(enabled)


@method("hardhat_setLoggingEnabled")
def hardhat_set_logging_enabled(context: Context, enabled: bool) -> bool:
    """`anvil_setLoggingEnabled` with the answer of Hardhat, true."""
    set_logging_enabled(context, enabled)
    return True


@method("zvmd_consoleLog", scope=Scope.DEBUG)
def console_log(context: Context, transaction_hash: Hash32) -> list[str]:
    """The lines that a mined transaction printed with console.log; the transaction is executed again."""
    place = context.backend.transaction_location(transaction_hash)
    if place is None:
        raise UnknownTransaction(f"no mined transaction 0x{transaction_hash.hex()}")
    lines: list[str]
    (lines,) = context.backend.trace_block(place.block_number, lambda _: ConsoleTracer(), place.transaction_index)
    return lines


@method("zvmd_rememberAbi", scope=Scope.SEND)
def remember_abi(context: Context, address: Address, name: str, abi: JsonList) -> bool:
    """Register the ABI of the contract at an address, and of those with the same code, to print its names.

    Raises `AbiRefused`, or `InvalidParams` without code at the address.
    """
    if not name or len(name) > NAME_CHARACTERS_MAX:
        raise InvalidParams(f"a name of {len(name)} characters; 1 to {NAME_CHARACTERS_MAX}")
    account = context.backend.view(context.backend.head().number).account(address)
    if account is None or account.code_hash == EMPTY_CODE_HASH:
        raise InvalidParams(f"0x{address.hex()} has no code")
    transcript = context.need_transcript()
    if context.artifacts is not None:
        context.artifacts.keep(transcript.abis, name, list(abi), account.code_hash)
    return True


@method("zvmd_explainRevert", scope=Scope.READ)
def explain_revert(context: Context, data: bytes, address: Address | None = None) -> str:
    """Revert data as text, by the ABI of the contract at an address, or else any ABI with the error."""
    transcript = context.need_transcript()
    account = None if address is None else context.backend.view(context.backend.head().number).account(address)
    return transcript.abis.revert(data, None if account is None else account.code_hash)
