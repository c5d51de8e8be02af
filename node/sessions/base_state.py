"""The base state of a session: empty, the state after a block, or the state between two transactions of a block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from chain.blocks import Header
from chain.environment import BlockEnvironment
from chain.forks import ChainConfig
from chain.state import BlockHashes, OverlayState, StateReader
from chain.transactions import decode_transaction, encode_transaction, sender_of
from chain.types import Hash32
from debugger.errors import InvalidProgram
from debugger.hex import data_of, hex_of, number_of
from debugger.limits import PROGRAM_GAS
from debugger.program import BlockSetup, Program, block_setup, parse_program
from node.api.pending_block import BlockAt, PendingBlock
from node.api.sessions import SessionStore
from storage.errors import StateUnavailable
from storage.wal.records import decode_environment, encode_environment
from vm.block import BlockExecution
from vm.importing import environment_of
from vm.machine import Machine

_OF_A_PAST_TRANSACTION = frozenset(("transaction", "name", "tags"))
_HASH_CHARACTERS = 66
PENDING_BYTES_MAX = 2**20
"""Most bytes of a pending block's transactions that a session stores."""


class Origin(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Identifies a session's base state, for as long as the chain keeps it."""

    block: int | None = None
    """The state after this block, or for ``index`` the one its transactions start from; None: no state."""
    index: int | None = None
    """Position in the block of the transaction that is debugged."""
    hash: bytes | None = None
    """Hash of the block: another may have replaced it since (``evm_revert``). None in old records."""
    state: int | None = None
    """Position of the state after the block: development calls may have changed it since."""
    pending: list[bytes] | None = None
    """For a pending block after that one: its environment, then its transactions, encoded as in the log."""


class NewSession(NamedTuple):
    """A session to be created."""

    program: Program
    origin: Origin = Origin()
    name: str = ""
    tags: tuple[str, ...] = ()


class BaseStates:
    """Finds base states in the chain, and the origin of a requested session. Stateless. Any thread."""

    def __init__(self, chain: SessionStore, machine: Machine) -> None:
        self._chain = chain
        self.machine = machine

    def requested(self, document: dict[str, Any], block_named: Callable[[object], BlockAt]) -> NewSession:
        """The session that a user's object describes; ``block_named`` finds a block by its number, tag or hash in JSON.

        Raises `InvalidProgram`, `InvalidParams`, `UnknownBlock`, errors of the transaction.
        """
        fields = dict(document)
        name, tags = fields.pop("name", ""), fields.pop("tags", [])
        if not isinstance(name, str) or not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise InvalidProgram("name is text, tags are a list of texts")
        transaction = fields.get("transaction")
        if isinstance(transaction, str) and len(transaction) == _HASH_CHARACTERS:
            if set(document) - _OF_A_PAST_TRANSACTION:
                raise InvalidProgram("a past transaction has its own caller, gas, fork and block")
            program, origin = self.past_transaction(Hash32(data_of(transaction, "transaction", 32, 32)))
            return NewSession(program, origin, name, tuple(tags))
        if "gas" in fields:
            fields["gas"] = number_of(_number(fields["gas"]), "gas", PROGRAM_GAS)
        origin = Origin()
        block = fields.get("block")
        if not isinstance(block, dict) or {"blockHash", "blockNumber"} & set(block):
            chosen = fields.pop("block", None)
            if chosen is not None or "code" not in fields:
                if isinstance(chosen, int) and not isinstance(chosen, bool) and chosen >= 0:
                    chosen = hex(chosen)
                at = block_named("latest" if chosen is None else chosen)
                fields, origin = self.at_block(fields, at) if isinstance(at, int) else self.at_pending(fields, at)
        return NewSession(parse_program(fields), origin, name, tuple(tags))

    def environment(self, number: int) -> BlockEnvironment:
        """The environment of a block. Raises `InvalidProgram` if there is none."""
        return environment_of(*self._named(number))

    def _named(self, number: int) -> tuple[Header, ChainConfig]:
        header = self._chain.header(number)
        if header is None:
            raise InvalidProgram(f"there is no block {number}")
        return header, self._chain.config

    def at_block(self, fields: dict[str, Any], number: int) -> tuple[dict[str, Any], Origin]:
        """Program fields completed with the fork and the environment of a block, and their origin."""
        completed = _completed(fields, self.environment(number))
        return completed, Origin(number, None, self._chain.block_hash(number), self._chain.state_position(number))

    def at_pending(self, fields: dict[str, Any], pending: PendingBlock) -> tuple[dict[str, Any], Origin]:
        """The same at a pending block, which is stored with the session because the chain will not have it.

        Raises `InvalidProgram` for one with more than `PENDING_BYTES_MAX` of transactions.
        """
        raws = [encode_transaction(transaction) for transaction in pending.transactions]
        if sum(map(len, raws)) > PENDING_BYTES_MAX:
            raise InvalidProgram(f"the pending block has more than {PENDING_BYTES_MAX} bytes of transactions")
        environment = pending.environment
        kept = [encode_environment(environment), *raws]
        origin = Origin(pending.number - 1, None, environment.parent_hash, pending.before.number, kept)
        return _completed(fields, environment), origin

    def past_transaction(self, transaction_hash: Hash32) -> tuple[Program, Origin]:
        """The program that repeats a mined transaction. Raises `InvalidProgram` if there is no such transaction."""
        place = self._chain.transaction_location(transaction_hash)
        block = None if place is None else self._chain.block(place.block_number)
        if place is None or block is None:
            raise InvalidProgram(f"there is no mined transaction 0x{transaction_hash.hex()}")
        environment = self.environment(place.block_number)
        program = Program(
            transaction=hex_of(encode_transaction(block.transactions[place.transaction_index])),
            fork=environment.fork.name.lower(),
            block=block_setup(environment),
        )
        return program, Origin(place.block_number, place.transaction_index, block.hash)

    def base(self, origin: Origin) -> tuple[StateReader | None, BlockHashes | None]:
        """The base state. Raises `StateUnavailable` if it expired or was reverted, `InvalidProgram` for none."""
        if origin.block is None:
            return None, None
        if origin.hash is not None and self._chain.block_hash(origin.block) != origin.hash:
            raise StateUnavailable(f"block {origin.block} is not the one the session began at: it was reverted")
        if origin.index is None:
            state = origin.state
            after = self._chain.view(origin.block) if state is None else self._chain.view_at(origin.block, state)
            return self._after_pending(after, origin.pending), self._chain.block_hash
        block = self._chain.block(origin.block)
        senders = self._chain.senders(origin.block)
        if block is None or senders is None or origin.index >= len(block.transactions):
            raise InvalidProgram(f"there is no transaction {origin.index} in block {origin.block}")
        parent = self._chain.view(origin.block - 1)
        header, config = self._named(origin.block)
        environment = environment_of(header, config, block.withdrawals or ())
        execution = BlockExecution(self.machine, environment, parent, self._chain.block_hash)
        execution.begin()
        for transaction, sender in zip(block.transactions[: origin.index], senders[: origin.index], strict=True):
            execution.add(transaction, sender)
        return OverlayState(parent, execution.journal.delta()), self._chain.block_hash

    def _after_pending(self, state: StateReader, pending: list[bytes] | None) -> StateReader:
        """A state with a stored pending block applied."""
        if not pending:
            return state
        execution = BlockExecution(self.machine, decode_environment(pending[0]), state, self._chain.block_hash)
        execution.begin()
        for raw in pending[1:]:
            transaction = decode_transaction(raw)
            execution.add(transaction, sender_of(transaction))
        return OverlayState(state, execution.finish().delta)


def _completed(fields: dict[str, Any], environment: BlockEnvironment) -> dict[str, Any]:
    setup: BlockSetup = block_setup(environment)
    return {"fork": environment.fork.name.lower(), **fields, "block": msgspec.to_builtins(setup)}


def _number(value: object) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidProgram("gas is a number")
    return value
