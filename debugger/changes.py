"""The changes a command made, in short, for watchers of a session who do not fetch its whole state."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from debugger.state import State

SHOWN = 64
"""Most changes of a kind that are listed; the others are counted."""
_PIECE = 64
"""Hex digits of 32 bytes."""


class Change(msgspec.Struct, frozen=True):
    """A value before and after; None where there was or is none."""

    before: str | None
    after: str | None


class Changes(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The difference of two states. Stack and memory are compared only if the same frame still runs."""

    depth: tuple[int, int] | None = None
    """The number of frames before and after, if another frame runs now."""
    stack: dict[str, Change] = {}
    """Stack words by index from the bottom."""
    memory: dict[str, Change] = {}
    """32-byte pieces by offset."""
    storage: dict[str, Change] = {}
    """Storage slots of the running account."""
    transient_storage: dict[str, Change] = {}
    logs: int = 0
    """By how many the number of logs has changed."""
    omitted: int = 0
    """Number of changes that are not listed."""


def changes(before: State, after: State) -> Changes:
    """The difference of two states, as `debugger.state.read_state` returns them."""
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
    """The account whose storage the state shows; None at the end of the run, where it is the outermost frame's."""
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
