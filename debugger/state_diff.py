"""Differences between two positions of one session or of two: state, stack, memory."""

from __future__ import annotations

import msgspec

from debugger.diff import step_line
from debugger.errors import InvalidProgram
from debugger.hex import hex_of, word_text
from debugger.position import FrameView
from debugger.session import Session
from debugger.slices import Slices, finish
from debugger.timeline import Timeline

STATE_SLOTS = 1 << 20
"""Most slots in one comparison."""


class Difference(msgspec.Struct, frozen=True):
    """A value on the left and on the right; None where there is none."""

    left: str | None
    right: str | None


class StateDiff(msgspec.Struct, frozen=True, rename="camel"):
    """The differences between two positions."""

    accounts: dict[str, dict[str, Difference]]
    """By address: balance, nonce, codeHash."""
    storage: dict[str, dict[str, Difference]]
    transient_storage: dict[str, dict[str, Difference]]
    stack: dict[int, Difference]
    """Words counted from the bottom of the running frames' stacks."""
    memory: dict[int, Difference]
    """32-byte pieces by offset."""
    position: dict[str, Difference]
    """pc, opcode, gas, depth, logs, halt."""


def diff_states(left: Session, left_step: int, right: Session, right_step: int) -> StateDiff:
    """Compare a position of one run with one of another or the same; the sessions do not move.

    Raises `StepOutOfRange`.
    """
    return finish(diff_state_slices(left, left_step, right, right_step))


def diff_state_slices(
    left: Session, left_step: int, right: Session, right_step: int
) -> Slices[StateDiff]:
    """`diff_states` in slices: others may work after every ``yield``."""
    a, b = left.clone(), right.clone()
    try:
        yield from a.seeking(left_step)
        yield from b.seeking(right_step)
        addresses = set()
        slots: set[tuple[bytes, int]] = set()
        for session, timeline in ((left, a), (right, b)):
            delta = timeline.execution.journal.delta()
            addresses |= set(delta.accounts) | session.base.touched
            slots |= {(address, slot) for address, known in delta.storage.items() for slot in known}
            slots |= session.base.touched_slots
        if len(slots) > STATE_SLOTS:
            raise InvalidProgram("too many slots to compare")
        return StateDiff(
            _account_changes(a, b, sorted(addresses)),
            _slot_changes(a, b, sorted(slots)),
            _transient_changes(a, b),
            *_frame_changes(a, b),
        )
    finally:
        a.close()
        b.close()


def _change(left: object, right: object) -> Difference:
    return Difference(None if left is None else str(left), None if right is None else str(right))


def _account_changes(a: Timeline, b: Timeline, addresses: list[bytes]) -> dict[str, dict[str, Difference]]:
    found: dict[str, dict[str, Difference]] = {}
    for address in addresses:
        one, two = (t.execution.journal.account(address) for t in (a, b))  # type: ignore[arg-type]
        pairs = {
            "balance": (hex(one.balance), hex(two.balance)),
            "nonce": (one.nonce, two.nonce),
            "codeHash": (hex_of(one.code_hash), hex_of(two.code_hash)),
        }
        changed = {name: _change(*pair) for name, pair in pairs.items() if pair[0] != pair[1]}
        if changed:
            found[hex_of(address)] = changed
    return found


def _slot_changes(
    a: Timeline, b: Timeline, slots: list[tuple[bytes, int]]
) -> dict[str, dict[str, Difference]]:
    found: dict[str, dict[str, Difference]] = {}
    for address, slot in slots:
        one, two = (t.execution.journal.storage(address, slot) for t in (a, b))  # type: ignore[arg-type]
        if one != two:
            found.setdefault(hex_of(address), {})[word_text(slot)] = _change(hex(one), hex(two))
    return found


def _transient_changes(a: Timeline, b: Timeline) -> dict[str, dict[str, Difference]]:
    one, two = a.execution.journal.transients(), b.execution.journal.transients()
    found: dict[str, dict[str, Difference]] = {}
    for key in sorted({*one, *two}):
        pair = one.get(key, 0), two.get(key, 0)
        if pair[0] != pair[1]:
            address, slot = key
            found.setdefault(hex_of(address), {})[word_text(slot)] = _change(hex(pair[0]), hex(pair[1]))
    return found


def _frame_changes(
    a: Timeline, b: Timeline
) -> tuple[dict[int, Difference], dict[int, Difference], dict[str, Difference]]:
    one, two = step_line(a), step_line(b)
    x, y = _view(a), _view(b)
    stack = {
        i: _change(*pair)
        for i in range(max(len(one.stack), len(two.stack)))
        if (pair := (_at(one.stack, i), _at(two.stack, i)))[0] != pair[1]
    }
    ours, theirs = b"" if x is None else x.memory, b"" if y is None else y.memory
    memory = {}
    for at in range(0, max(len(ours), len(theirs)), 32):
        pieces = ours[at : at + 32], theirs[at : at + 32]
        if pieces[0] != pieces[1]:
            memory[at] = _change(*(hex_of(piece) if piece else None for piece in pieces))
    logs = len(a.execution.journal.logs), len(b.execution.journal.logs)
    pairs: dict[str, tuple[object, object]] = {
        "pc": (one.pc, two.pc),
        "opcode": (one.opcode, two.opcode),
        "gas": (one.gas, two.gas),
        "depth": (one.depth, two.depth),
        "logs": logs,
        "halt": (one.halt and one.halt.reason, two.halt and two.halt.reason),
    }
    return stack, memory, {name: _change(*pair) for name, pair in pairs.items() if pair[0] != pair[1]}


def _at(items: list[str], index: int) -> str | None:
    return items[index] if index < len(items) else None


def _view(timeline: Timeline) -> FrameView | None:
    if timeline.execution.frames:
        return FrameView.of(timeline.execution.frames[-1])
    return timeline.last_frame()
