"""Geth's prestateTracer: what a transaction read, as it was before; with ``diffMode`` what it changed.

Source: ``eth/tracers/native/prestate.go``. More than geth's is in it where a run from the prestate alone would differ:
the code behind a delegation that the transaction itself sets, and what made an opcode too expensive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from chain.forks import Fork
from chain.state import EMPTY_ACCOUNT, EMPTY_CODE_HASH, Account, OverlayState, StateReader
from chain.types import Address
from node.api.errors import InvalidParams
from node.api.tracing import RunTracer, TracedRun
from node.rpc.format import data, quantity, word
from node.tracers.touched import ReplayTouches
from vm.delegation import delegation_target
from vm.message import Message
from vm.transaction import TransactionResult

if TYPE_CHECKING:
    from vm.evm.frame import Frame

Shown = dict[str, Any]


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
    """Collects the accounts and slots a run looks at."""

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
        """The first one names the recipient, or the contract being made."""
        if message.depth:
            return
        self._touches.add(message.to)
        if self._run.environment.fork >= Fork.PRAGUE:
            self._touches.called(message.to)
            before = delegation_target(_code(self._run.before, message.to))
            if before is not None:
                self._touches.add(before)

    def step(self, frame: Frame) -> None:
        """Before the opcode looks."""
        self._touches.step(frame)

    def result(self, ended: TransactionResult) -> Shown:  # noqa: ARG002
        """Accounts by address; ``{pre, post}`` of the changed ones in diff mode."""
        if self._options.diff_mode:
            return self._difference()
        before = self._run.before
        return {
            data(address): self._account(before, address) | self._storage(before, address, slots)
            for address, slots in self._touches.slots.items()
            if self._options.include_empty or not _of(before, address).is_empty
        }

    def _account(self, state: StateReader, address: Address) -> Shown:
        account = _of(state, address)
        shown: Shown = {"balance": quantity(account.balance)}
        if account.nonce:
            shown["nonce"] = account.nonce
        if account.code_hash != EMPTY_CODE_HASH:
            shown["codeHash"] = data(account.code_hash)
            if not self._options.disable_code:
                shown["code"] = data(state.code(account.code_hash))
        return shown

    def _storage(self, state: StateReader, address: Address, slots: set[int]) -> Shown:
        if not slots or self._options.disable_storage:
            return {}
        return {"storage": {word(slot): word(state.storage(address, slot)) for slot in sorted(slots)}}

    def _difference(self) -> Shown:
        run = self._run
        after = OverlayState(run.below, run.journal.delta())
        pre: dict[str, Shown] = {}
        post: dict[str, Shown] = {}
        for address, slots in self._touches.slots.items():
            old = self._account(run.before, address)
            is_empty = _of(run.before, address).is_empty
            if not is_empty and after.account(address) is None:
                pre[data(address)] = old | self._storage(run.before, address, slots)
                continue
            changed = self._changed(old, self._account(after, address))
            old_slots, new_slots = (
                ({}, {}) if self._options.disable_storage else _moved(run.before, after, address, slots)
            )
            if changed or old_slots or new_slots:
                if not is_empty:
                    pre[data(address)] = old | old_slots
                post[data(address)] = changed | new_slots
        return {"pre": pre, "post": post}

    def _changed(self, old: Shown, new: Shown) -> Shown:
        """Fields that differ; code that is gone is ``0x``."""
        changed = {name: value for name, value in new.items() if old.get(name) != value}
        if "codeHash" in old and "codeHash" not in new:
            changed["codeHash"] = data(EMPTY_CODE_HASH)
            if not self._options.disable_code:
                changed["code"] = "0x"
        return changed


def _of(state: StateReader, address: Address) -> Account:
    return state.account(address) or EMPTY_ACCOUNT


def _code(state: StateReader, address: Address) -> bytes:
    code_hash = _of(state, address).code_hash
    return b"" if code_hash == EMPTY_CODE_HASH else state.code(code_hash)


def _moved(before: StateReader, after: StateReader, address: Address, slots: set[int]) -> tuple[Shown, Shown]:
    """Slots that changed, before and after; zeros are left out."""
    old: dict[str, str] = {}
    new: dict[str, str] = {}
    for slot in sorted(slots):
        values = before.storage(address, slot), after.storage(address, slot)
        if values[0] != values[1]:
            for side, value in zip((old, new), values, strict=True):
                if value:
                    side[word(slot)] = word(value)
    return {"storage": old} if old else {}, {"storage": new} if new else {}
