"""Geth's prestateTracer: the pre-state of what a transaction read; with ``diffMode``, what it changed.

Source: ``eth/tracers/native/prestate.go``. More than geth's is in it where a run from the prestate alone would differ:
the code behind a delegation that the transaction itself sets, and what made an opcode too expensive.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from chain.forks import Fork
from chain.state import EMPTY_ACCOUNT, EMPTY_CODE_HASH, Account, OverlayState, StateReader
from chain.types import Address, Hash32
from node.api.errors import InvalidParams
from node.api.tracing import RunTracer, TracedRun
from node.tracers.touched import ReplayTouches
from vm.delegation import delegation_target
from vm.message import Message
from vm.transaction import TransactionResult

if TYPE_CHECKING:
    from vm.evm.frame import Frame


@dataclass(slots=True)
class AccountPart:
    """Fields of an account; None for one that is not requested, unchanged or at its default."""

    balance: int | None = None
    """Wei."""
    nonce: int | None = None
    code_hash: Hash32 | None = None
    code: bytes | None = None
    storage: dict[int, int] | None = None

    def __bool__(self) -> bool:
        return any(value is not None for value in (self.balance, self.nonce, self.code_hash, self.code, self.storage))


Prestate = dict[Address, AccountPart]


class StateDifference(NamedTuple):
    """Accounts that a run changed: their values before, and what differs afterwards."""

    before: Prestate
    after: Prestate


class PrestateOptions(msgspec.Struct, rename="camel"):
    """``tracerConfig`` of prestateTracer."""

    diff_mode: bool = False
    disable_code: bool = False
    disable_storage: bool = False
    include_empty: bool = False

    def check(self) -> None:
        """Raises `InvalidParams` for options that contradict each other."""
        if self.diff_mode and self.include_empty:
            raise InvalidParams("cannot use diffMode with includeEmpty")


class PrestateTracer(RunTracer):
    """Collects the accounts and slots that a run accesses."""

    hears_steps = True

    def __init__(self, run: TracedRun, options: PrestateOptions) -> None:
        self._run = run
        self._options = options
        self._touches = ReplayTouches(run)
        self._touches.add(run.sender)
        self._touches.add(run.environment.coinbase)
        for authorization in run.transaction.authorization_list:
            if (authority := authorization.authority()) is not None:
                self._touches.add(authority)

    def enter(self, message: Message) -> None:
        """The first one names the recipient, or the contract being created."""
        if message.depth:
            return
        self._touches.add(message.to)
        if self._run.environment.fork >= Fork.PRAGUE:
            self._touches.called(message.to)
            before = delegation_target(_code(self._run.before, message.to))
            if before is not None:
                self._touches.add(before)

    def step(self, frame: Frame) -> None:
        """Record what the next opcode is about to access."""
        self._touches.step(frame)

    def result(self, ended: TransactionResult) -> Prestate | StateDifference:  # noqa: ARG002
        """The accounts as they were; in diff mode what changed."""
        if self._options.diff_mode:
            return self._difference()
        before = self._run.before
        return {
            address: self._account(before, address, slots)
            for address, slots in self._touches.slots.items()
            if self._options.include_empty or not _of(before, address).is_empty
        }

    def _account(self, state: StateReader, address: Address, slots: Collection[int] = ()) -> AccountPart:
        account = _of(state, address)
        part = AccountPart(account.balance, account.nonce or None)
        if account.code_hash != EMPTY_CODE_HASH:
            part.code_hash = account.code_hash
            if not self._options.disable_code:
                part.code = state.code(account.code_hash)
        if slots and not self._options.disable_storage:
            part.storage = {slot: state.storage(address, slot) for slot in sorted(slots)}
        return part

    def _difference(self) -> StateDifference:
        run = self._run
        after = OverlayState(run.below, run.journal.delta())
        difference = StateDifference({}, {})
        for address, slots in self._touches.slots.items():
            is_empty = _of(run.before, address).is_empty
            if not is_empty and after.account(address) is None:
                difference.before[address] = self._account(run.before, address, slots)
                continue
            old = self._account(run.before, address)
            changed = self._changed(old, self._account(after, address))
            if not self._options.disable_storage:
                old.storage, changed.storage = _moved(run.before, after, address, slots)
            if changed or old.storage:
                if not is_empty:
                    difference.before[address] = old
                difference.after[address] = changed
        return difference

    def _changed(self, old: AccountPart, new: AccountPart) -> AccountPart:
        """Fields that differ; deleted code is empty."""
        changed = AccountPart(
            new.balance if new.balance != old.balance else None,
            new.nonce if new.nonce != old.nonce else None,
            new.code_hash if new.code_hash != old.code_hash else None,
            new.code if new.code != old.code else None,
        )
        if old.code_hash is not None and new.code_hash is None:
            changed.code_hash = EMPTY_CODE_HASH
            changed.code = None if self._options.disable_code else b""
        return changed


def _of(state: StateReader, address: Address) -> Account:
    return state.account(address) or EMPTY_ACCOUNT


def _code(state: StateReader, address: Address) -> bytes:
    code_hash = _of(state, address).code_hash
    return b"" if code_hash == EMPTY_CODE_HASH else state.code(code_hash)


def _moved(
    before: StateReader, after: StateReader, address: Address, slots: Collection[int]
) -> tuple[dict[int, int] | None, dict[int, int] | None]:
    """Slots that changed, before and after; zeros are left out, and None means no slots."""
    values = {slot: (before.storage(address, slot), after.storage(address, slot)) for slot in sorted(slots)}
    changed = {slot: pair for slot, pair in values.items() if pair[0] != pair[1]}
    old, new = ({slot: pair[side] for slot, pair in changed.items() if pair[side]} for side in (0, 1))
    return old or None, new or None
