"""Geth's prestateTracer: what a transaction read, as it was before; with ``diffMode`` what it changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from chain.state import EMPTY_CODE_HASH, StateReader
from chain.types import Address
from debugger.base_state import OverlayState
from node.rpc.format import data, quantity, word
from node.tracers.run import RunTracer, TracedRun
from node.tracers.touched import Touches
from vm.message import Message
from vm.transaction import TransactionResult

if TYPE_CHECKING:
    from vm.evm.frame import Frame

Shown = dict[str, Any]


class PrestateOptions(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """``tracerConfig`` of prestateTracer."""

    diff_mode: bool = False
    disable_code: bool = False
    disable_storage: bool = False


class PrestateTracer(RunTracer):
    """Collects the accounts and slots a run looks at."""

    def __init__(self, run: TracedRun, options: PrestateOptions) -> None:
        self._run = run
        self._options = options
        self._touches = Touches(run)
        self._touches.add(run.sender)
        self._touches.add(run.environment.coinbase)
        for authorization in run.transaction.authorization_list:
            if (authority := authorization.authority()) is not None:
                self._touches.add(authority)

    def enter(self, message: Message) -> None:
        """The first one names the recipient, or the contract being made."""
        self._touches.add(message.to)

    def step(self, frame: Frame) -> None:
        """Before the opcode looks."""
        self._touches.step(frame)

    def result(self, ended: TransactionResult) -> Shown:  # noqa: ARG002
        """Accounts by address; ``{pre, post}`` of the changed ones in diff mode."""
        if not self._options.diff_mode:
            before = self._run.before
            return {
                data(address): self._account(before, address, slots)
                for address, slots in self._touches.slots.items()
            }
        return self._difference()

    def _account(self, state: StateReader, address: Address, slots: set[int]) -> Shown:
        account = state.account(address)
        shown: Shown = {"balance": quantity(account.balance if account else 0)}
        if account is not None:
            if account.nonce:
                shown["nonce"] = account.nonce
            if account.code_hash != EMPTY_CODE_HASH and not self._options.disable_code:
                shown["code"] = data(state.code(account.code_hash))
        if slots and not self._options.disable_storage:
            shown["storage"] = {word(slot): word(state.storage(address, slot)) for slot in sorted(slots)}
        return shown

    def _difference(self) -> Shown:
        run = self._run
        after = OverlayState(run.below, run.journal.delta())
        pre: dict[str, Shown] = {}
        post: dict[str, Shown] = {}
        for address, slots in self._touches.slots.items():
            old, new = self._account(run.before, address, slots), self._account(after, address, slots)
            if old == new:
                continue
            old_slots, new_slots = old.pop("storage", {}), new.pop("storage", {})
            changed_slots = [slot for slot in old_slots if old_slots[slot] != new_slots[slot]]
            if run.before.account(address) is not None:
                pre[data(address)] = old | _storage_of(old_slots, changed_slots)
            if after.account(address) is not None:
                changed = {name: value for name, value in new.items() if old.get(name) != value}
                post[data(address)] = changed | _storage_of(new_slots, changed_slots)
        return {"pre": pre, "post": post}


def _storage_of(slots: dict[str, str], changed: list[str]) -> Shown:
    """The changed slots that are not zero, as a field of an account; nothing without any."""
    shown = {slot: slots[slot] for slot in changed if int(slots[slot], 16)}
    return {"storage": shown} if shown else {}
