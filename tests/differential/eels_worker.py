"""Runs cases in the execution specification: pickled batches on standard input, traces and ends on standard output.

Started with the Python of the oracles' environment; imports nothing of this repository. Steps are told by the
specification's own EIP-3155 tracer; what is skipped is only the transaction around the message.
"""

from __future__ import annotations

import dataclasses
import pickle
import sys
import threading
from functools import cache
from importlib import import_module
from typing import Any

from ethereum.trace import TransactionEnd, set_evm_trace
from ethereum_spec_tools.evm_tools.t8n.evm_trace import eip3155
from ethereum_types.bytes import Bytes20, Bytes32
from ethereum_types.numeric import U64, U256, Uint

CALLER = "ca" * 20
SPECIFICATIONS = {"PETERSBURG": "constantinople"}
"""Forks that the specification names otherwise."""
STACK_SHOWN = 40
"""Words of the stack told besides its height: nothing reaches below seventeen."""

eip3155.Evm = eip3155.EvmWithReturnData = object
"""Protocols checked at run time, attribute by attribute, thrice an opcode: half of all time."""


class Tracer(eip3155.Eip3155Tracer):
    """Keeps the lines instead of writing them."""

    output = b""

    def __call__(self, evm: Any, event: Any) -> None:
        """One event."""
        if isinstance(event, TransactionEnd):
            self.output = bytes(event.output)
            return
        lines = len(self.active_traces)
        super().__call__(evm, event)
        if len(self.active_traces) > lines:
            self.active_traces[-1].stack = (len(evm.stack), *map(hex, evm.stack[-STACK_SHOWN:]))


class Fork:
    """The modules of one fork."""

    def __init__(self, name: str) -> None:
        package = f"ethereum.forks.{SPECIFICATIONS.get(name, name.lower())}"
        self.vm = import_module(f"{package}.vm")
        self.state = import_module(f"{package}.state")
        self.types = import_module(f"{package}.fork_types")
        self.interpreter = import_module(f"{package}.vm.interpreter")
        mapping = import_module(f"{package}.vm.precompiled_contracts.mapping")
        self.precompiles = set(mapping.PRE_COMPILED_CONTRACTS)
        self.has_return_data = any(field.name == "return_data" for field in dataclasses.fields(self.vm.Evm))
        self.has_warm_coinbase = any(op.name == "PUSH0" for op in self.interpreter.Ops)


@cache
def fork_of(name: str) -> Fork:
    """Imported when first asked for."""
    return Fork(name)


def made(kind: Any, **values: Any) -> Any:
    """A dataclass that takes what it knows of the values: older forks have fewer fields."""
    return kind(**{field.name: values[field.name] for field in dataclasses.fields(kind)})


def address_of(text: str) -> Bytes20:
    """An address of hex digits."""
    return Bytes20(bytes.fromhex(text))


def message_of(fork: Fork, case: dict[str, Any], contracts: list[str], block_hashes: list[bytes]) -> Any:
    """The message of a case, and the state around it."""
    state = fork.state.State()
    rich = fork.types.Account(nonce=Uint(1), balance=U256(10**18), code=b"")
    fork.state.set_account(state, address_of(CALLER), rich)
    for name, code in zip(contracts, case["codes"], strict=True):
        account = fork.types.Account(nonce=Uint(1), balance=U256(5), code=bytes.fromhex(code))
        fork.state.set_account(state, address_of(name), account)
    to, caller, coinbase = address_of(contracts[0]), address_of(CALLER), address_of("c0" * 20)
    block = made(
        fork.vm.BlockEnvironment,
        chain_id=U64(1),
        state=state,
        block_gas_limit=Uint(30_000_000),
        block_hashes=[Bytes32(digest) for digest in block_hashes],
        coinbase=coinbase,
        number=Uint(1_000),
        base_fee_per_gas=Uint(0),
        time=U256(1_700_000_000),
        prev_randao=Bytes32(bytes(31) + b"\x05"),
        difficulty=Uint(6),
        excess_blob_gas=U64(0),
        parent_beacon_block_root=Bytes32(bytes(32)),
    )
    transaction = made(
        fork.vm.TransactionEnvironment,
        origin=caller,
        gas_price=Uint(0),
        gas=Uint(case["message_gas"]),
        access_list_addresses=set(),
        access_list_storage_keys=set(),
        transient_storage=getattr(fork.state, "TransientStorage", object)(),
        blob_versioned_hashes=(),
        authorizations=(),
        index_in_block=Uint(0),
        tx_hash=Bytes32(bytes(32)),
    )
    return made(
        fork.vm.Message,
        block_env=block,
        tx_env=transaction,
        caller=caller,
        target=to,
        current_target=to,
        gas=Uint(case["message_gas"]),
        value=U256(case["value"]),
        data=bytes.fromhex(case["data"]),
        code_address=to,
        code=bytes.fromhex(case["codes"][0]),
        depth=Uint(0),
        should_transfer_value=True,
        is_static=False,
        accessed_addresses={caller, to, *fork.precompiles} | ({coinbase} if fork.has_warm_coinbase else set()),
        accessed_storage_keys=set(),
        disable_precompiles=False,
        parent_evm=None,
    )


def step_of(line: Any) -> tuple[Any, ...]:
    """A line as zvmd's side keeps it."""
    cost = int(line.gasCost, 16)
    return (
        *(line.pc, line.op, int(line.gas, 16), cost if cost < 2**64 else None, line.depth, line.memSize),
        *(line.stack, line.returnData, line.refund, line.error),
    )


def run(case: dict[str, Any], contracts: list[str], watched: list[str], block_hashes: list[bytes]) -> dict[str, Any]:
    """Run one case."""
    fork = fork_of(case["fork"])
    message = message_of(fork, case, contracts, block_hashes)
    tracer = Tracer(trace_stack=False, trace_return_data=fork.has_return_data, output_basedir=".")
    set_evm_trace(tracer)
    result = fork.interpreter.process_message_call(message)
    state = message.block_env.state
    for address in result.accounts_to_delete:
        fork.state.destroy_account(state, address)
    accounts = [fork.state.get_account(state, address_of(name)) for name in watched]
    slots = [Bytes32(slot.to_bytes(32, "big")) for slot in range(6)]
    return {
        "steps": [step_of(line) for line in tracer.active_traces if not line.precompile],
        "success": not result.error,
        "gas_left": int(result.gas_left),
        "refund": int(result.refund_counter),
        "output": tracer.output.hex(),
        "logs": [(log.address.hex(), [topic.hex() for topic in log.topics], log.data.hex()) for log in result.logs],
        "accounts": [(hex(account.balance), hex(account.nonce)) for account in accounts],
        "storage": [
            [hex(fork.state.get_storage(state, address_of(name), slot)) for slot in slots] for name in contracts
        ],
    }


def serve() -> None:
    """Answer until the input ends."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            batch = pickle.load(source)
        except EOFError:
            return
        known = batch["contracts"], batch["watched"], batch["block_hashes"]
        pickle.dump([run(case, *known) for case in batch["cases"]], sink, protocol=5)
        sink.flush()


if __name__ == "__main__":
    # A call of the programs is a call in Python.
    sys.setrecursionlimit(60_000)
    threading.stack_size(512 << 20)
    threading.Thread(target=serve).start()
