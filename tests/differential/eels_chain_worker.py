"""Runs whole transactions and blocks in the execution specification: pickled batches in, what came of each out.

Started with the Python of the oracles' environment; imports nothing of this repository.
"""

from __future__ import annotations

import dataclasses
import pickle
import sys
import threading
from functools import cache
from importlib import import_module
from typing import Any

from ethereum.crypto.hash import keccak256
from ethereum.exceptions import EthereumException
from ethereum.fork_criteria import ByBlockNumber
from ethereum.trace import OpStart, PrecompileStart, set_evm_trace
from ethereum_rlp import exceptions as rlp_errors
from ethereum_rlp import rlp
from ethereum_types.bytes import Bytes20, Bytes32
from ethereum_types.numeric import U64, U256, Uint

SPECIFICATIONS = {"PETERSBURG": "constantinople"}
"""Forks that the specification names otherwise."""
MOST_WORK = 40_000
"""Opcodes after which a case is given up: the specification runs some hundred thousand in a second."""
WORK_OF_PRECOMPILES = {1: 400, 5: 400, 6: 400, 7: 2_000, 8: 8_000, 10: 15_000} | dict.fromkeys(range(11, 18), 4_000)
"""Curves in Python: a pairing takes as long as thousands of opcodes. Of the last ones per 300 bytes of input."""


class TooLong(BaseException):
    """A case is more work than a comparison is worth."""


class Work:
    """Counts opcodes."""

    def __init__(self) -> None:
        self.done = 0

    def __call__(self, evm: Any, event: Any) -> None:
        """One event."""
        if isinstance(event, OpStart):
            self.done += 1
        elif isinstance(event, PrecompileStart):
            place = int.from_bytes(event.address, "big")
            size = len(evm.message.data)
            self.done += WORK_OF_PRECOMPILES.get(place, 50) * (1 + (size // 300 if place > 7 else size // 4_000))
        if self.done > MOST_WORK:
            raise TooLong


class Fork:
    """The modules of one fork, without proof of work and without the state roots of Frontier's receipts."""

    def __init__(self, name: str) -> None:
        package = f"ethereum.forks.{SPECIFICATIONS.get(name, name.lower())}"
        self.fork: Any = import_module(f"{package}.fork")
        self.blocks = import_module(f"{package}.blocks")
        self.vm = import_module(f"{package}.vm")
        self.state = import_module(f"{package}.state")
        self.types = import_module(f"{package}.fork_types")
        self.transactions = import_module(f"{package}.transactions")
        self.state_root = self.fork.state_root
        import_module(f"{package}.vm.gas")
        if hasattr(self.fork, "validate_proof_of_work"):
            vars(self.fork)["validate_proof_of_work"] = lambda header: None

    def decode(self, raw: bytes) -> Any:
        """A transaction of its encoding."""
        if raw[:1] >= b"\xc0":
            names = vars(self.transactions)
            kind = names.get("LegacyTransaction") or names["Transaction"]
            return rlp.decode_to(kind, raw)
        if not hasattr(self.transactions, "decode_transaction"):
            raise EthereumException("no typed transactions yet")
        return self.transactions.decode_transaction(raw)

    def state_of(self, accounts: dict[bytes, tuple[int, int, bytes, dict[int, int]]]) -> Any:
        """A state of nonce, balance, code and storage by address."""
        state = self.state.State()
        for name, (nonce, balance, code, slots) in accounts.items():
            address = Bytes20(name)
            account = self.types.Account(nonce=Uint(nonce), balance=U256(balance), code=code)
            self.state.set_account(state, address, account)
            for slot, value in slots.items():
                self.state.set_storage(state, address, Bytes32(slot.to_bytes(32, "big")), U256(value))
        return state


@cache
def fork_of(name: str) -> Fork:
    """Imported when first asked for."""
    return Fork(name)


def made(kind: Any, **values: Any) -> Any:
    """A dataclass that takes what it knows of the values: older forks have fewer fields."""
    return kind(**{field.name: values[field.name] for field in dataclasses.fields(kind)})


def told(state: Any) -> dict[bytes, tuple[int, int, bytes, dict[int, int]]]:
    """Every account of a state: nonce, balance, hash of the code, storage."""
    found = {}
    for address, account in state._main_trie._data.items():
        if account is None:
            continue
        slots = state._storage_tries.get(address)
        storage = {} if slots is None else {int.from_bytes(k, "big"): int(v) for k, v in slots._data.items()}
        found[bytes(address)] = (int(account.nonce), int(account.balance), bytes(keccak256(account.code)), storage)
    return found


def run_transaction(case: dict[str, Any]) -> dict[str, Any]:
    """A transaction on a state: what `process_transaction` makes of it."""
    fork = fork_of(case["fork"])
    state = fork.state_of(case["accounts"])
    environment = made(
        fork.vm.BlockEnvironment,
        chain_id=U64(case["chain_id"]),
        state=state,
        block_gas_limit=Uint(case["gas_limit"]),
        block_hashes=[Bytes32(digest) for digest in case["block_hashes"]],
        coinbase=Bytes20(case["coinbase"]),
        number=Uint(case["number"]),
        base_fee_per_gas=Uint(case["base_fee"]),
        time=U256(case["timestamp"]),
        prev_randao=Bytes32(case["prevrandao"]),
        difficulty=Uint(case["difficulty"]),
        excess_blob_gas=U64(case["excess_blob_gas"]),
        parent_beacon_block_root=Bytes32(bytes(32)),
    )
    output = fork.vm.BlockOutput()
    fork.fork.state_root = lambda state: Bytes32(bytes(32))
    try:
        fork.fork.process_transaction(environment, output, fork.decode(case["transaction"]), Uint(0))
    finally:
        fork.fork.state_root = fork.state_root
    logs = [(bytes(log.address), [bytes(topic) for topic in log.topics], bytes(log.data)) for log in output.block_logs]
    receipt = output.receipts_trie._data[rlp.encode(Uint(0))]
    if isinstance(receipt, bytes):
        fields: Any = rlp.decode(receipt[1:])
        status = fields[0] == b"\x01"
    else:
        status = getattr(receipt, "succeeded", None)
    return {"gas_used": int(output.block_gas_used), "success": status, "logs": logs, "accounts": told(state)}


def run_blocks(case: dict[str, Any]) -> dict[str, Any]:
    """A chain of blocks that must hold, and what comes of each block tried at its end."""
    fork = fork_of(case["fork"])
    genesis = rlp.decode_to(fork.blocks.Block, case["genesis"])
    chain = fork.fork.BlockChain([genesis], fork.state_of(case["accounts"]), U64(case["chain_id"]))
    for name, raw in case["before"]:
        fork = following(fork_of(name), chain, case)
        fork.fork.state_transition(chain, rlp.decode_to(fork.blocks.Block, raw))
    return {"verdicts": [tried(name, chain, raw, case) for name, raw in case["tried"]]}


def following(fork: Fork, chain: Any, case: dict[str, Any]) -> Fork:
    """The fork of the next block, made ready for it: a state of another fork's is made one of its own."""
    if not isinstance(chain.state, fork.state.State):
        codes = {bytes(name): account.code for name, account in chain.state._main_trie._data.items() if account}
        accounts = {name: (n, b, codes[name], slots) for name, (n, b, _, slots) in told(chain.state).items()}
        chain.state = fork.state_of(accounts)
    names = vars(fork.fork)
    if "INITIAL_BASE_FEE" in names:  # London's first block has no base fee to follow; a genesis has
        names["FORK_CRITERIA"] = ByBlockNumber(case["london_at"])
    gas = getattr(fork.vm, "gas", None)
    if gas is not None and hasattr(gas, "calculate_excess_blob_gas"):
        # A parent of the fork before is told from one without blobs by its class.
        gas.Header = tuple({fork.blocks.Header, *(type(b.header) for b in chain.blocks if has_blobs(b.header))})
    return fork


def has_blobs(header: Any) -> bool:
    """Whether a header is one of Cancun's or later."""
    return hasattr(header, "excess_blob_gas")


def tried(name: str, chain: Any, raw: bytes, case: dict[str, Any]) -> str:
    """How a block is refused, empty if it is not."""
    copy = dataclasses.replace(chain, blocks=list(chain.blocks), state=copied(chain.state))
    fork = following(fork_of(name), copy, case)
    try:
        fork.fork.state_transition(copy, rlp.decode_to(fork.blocks.Block, raw))
    except Exception as error:
        return refusal(error)
    return ""


def copied(state: Any) -> Any:
    """The state once more, to be changed."""
    copy = type(state)()
    for name, trie in (("_main_trie", state._main_trie), *state._storage_tries.items()):
        twin = dataclasses.replace(trie, _data=dict(trie._data))
        if name == "_main_trie":
            copy._main_trie = twin
        else:
            copy._storage_tries[name] = twin
    return copy


def refusal(error: Exception) -> str:
    """The error's name, and the specification's function that raised it; an error nobody expected has a mark."""
    trace = error.__traceback__
    where = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if "/ethereum/forks/" in code.co_filename:
            where = code.co_name
        trace = trace.tb_next
    expected = isinstance(error, EthereumException | rlp_errors.RLPException)
    return f"{'' if expected else '!'}{type(error).__name__} {where}: {error}"[:200]


def run(case: dict[str, Any]) -> dict[str, Any]:
    """Run one case."""
    set_evm_trace(Work())
    try:
        return run_blocks(case) if "genesis" in case else run_transaction(case)
    except TooLong:
        return {"given_up": True}
    except Exception as error:
        return {"refusal": refusal(error)}


def serve() -> None:
    """Answer until the input ends."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            batch = pickle.load(source)
        except EOFError:
            return
        pickle.dump([run(case) for case in batch["cases"]], sink, protocol=5)
        sink.flush()


if __name__ == "__main__":
    # A call of the programs is a call in Python.
    sys.setrecursionlimit(60_000)
    threading.stack_size(512 << 20)
    threading.Thread(target=serve).start()
