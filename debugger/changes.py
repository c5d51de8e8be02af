"""What a command changed, in short: for those who watch a session and do not ask for its whole state each time."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from debugger.state import State

SHOWN = 64
"""Changes of a kind that are shown; the others are counted."""
_PIECE = 64
"""Hex digits of 32 bytes."""


class Change(msgspec.Struct, frozen=True):
    """A value before and after; None where there was or is none."""

    before: str | None
    after: str | None


class Changes(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The difference of two states. Stack and memory are shown only of a frame that stayed the running one."""

    depth: tuple[int, int] | None = None
    """Frames before and after, if another frame runs now."""
    stack: dict[str, Change] = {}
    """By index from the bottom."""
    memory: dict[str, Change] = {}
    """32-byte pieces by offset."""
    storage: dict[str, Change] = {}
    """Slots of the running account."""
    transient_storage: dict[str, Change] = {}
    logs: int = 0
    """Logs now less logs before."""
    omitted: int = 0
    """Further changes, not shown."""


def changes(before: State, after: State) -> Changes:
    """What differs between two states as `debugger.state.read_state` shows them."""
    is_same_frame = before.depth == after.depth
    is_same_account = _account(before) == _account(after)
    parts: dict[str, dict[str, Change]] = {}
    omitted = 0
    for name, comes, pairs in (
        ("stack", is_same_frame, ((str(i), a, b) for i, a, b in _zip(before.stack, after.stack))),
        ("memory", is_same_frame, _pieces(before.memory[2:], after.memory[2:])),
        ("storage", is_same_account, _entries(before.storage, after.storage)),
        ("transient_storage", is_same_account, _entries(before.transient_storage, after.transient_storage)),
    ):
        found = [(key, Change(a, b)) for key, a, b in pairs if a != b] if comes else []
        parts[name] = dict(found[:SHOWN])
        omitted += max(0, len(found) - SHOWN)
    return Changes(
        None if is_same_frame else (before.depth, after.depth),
        **parts,
        logs=after.pages["logs"].total - before.pages["logs"].total,
        omitted=omitted,
    )


def _account(state: State) -> str | None:
    """Whose storage is shown; None at the end, where it is that of the outermost frame."""
    return state.call_frames[-1].address if state.call_frames else None


_Pairs = Iterable[tuple[str, str | None, str | None]]


def _zip(one: list[str], two: list[str]) -> Iterable[tuple[int, str | None, str | None]]:
    for i in range(max(len(one), len(two))):
        yield i, one[i] if i < len(one) else None, two[i] if i < len(two) else None


def _pieces(one: str, two: str) -> _Pairs:
    for at in range(0, max(len(one), len(two)), _PIECE):
        a, b = one[at : at + _PIECE], two[at : at + _PIECE]
        yield str(at // 2), f"0x{a}" if a else None, f"0x{b}" if b else None


def _entries(one: dict[str, str], two: dict[str, str]) -> _Pairs:
    for key in sorted({*one, *two}):
        yield key, one.get(key), two.get(key)
