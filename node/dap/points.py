"""The breakpoints of one editor, and the breakpoints of the node that implement each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from node.dap.codes import CodeSelector, KnownCode
from zvmd.errors import ConnectionFailed, SessionNotFound, ZvmdError

Json = dict[str, Any]

PENDING = "pending: this code has not run yet"
NO_SESSION = "pending: there is no session yet"
_HITS = re.compile(r"\s*+(==?|>=?|<=?|%)?\s*+([0-9]{1,9})\s*+")
_COMPARE = {
    "=": lambda hits, n: hits == n,
    "==": lambda hits, n: hits == n,
    ">": lambda hits, n: hits > n,
    ">=": lambda hits, n: hits >= n,
    "<": lambda hits, n: hits < n,
    "<=": lambda hits, n: hits <= n,
    "%": lambda hits, n: n > 0 and hits % n == 0,
}


class Debugged(Protocol):
    """What breakpoints need from their session."""

    @property
    def session(self) -> int | str | None:
        """None before there is one."""

    def call(self, name: str, *params: Any) -> Any:
        """A method of the session. Raises a `ZvmdError`."""

    def code_meant(self, place: CodeSelector) -> KnownCode | None:
        """The code, if it has run."""

    def line_out(self, row: int) -> int:
        """The line of a row, as the editor counts."""


@dataclass(frozen=True)
class Asked:
    """A breakpoint as the editor requested it; an equal request sets the same breakpoint again."""

    place: CodeSelector | None = None
    line: int | None = None
    """Line in the code's listing, from 1."""
    pc: int | None = None
    fixed: tuple[tuple[tuple[str, object], ...], ...] = ()
    """Breakpoints of the node that do not depend on a code."""
    condition: str = ""
    hits: str = ""
    log: str = ""
    refused: str = ""
    """Why it can never be set, whatever code runs."""


@dataclass(eq=False)
class Point:
    """A breakpoint of the editor."""

    id: int
    group: str
    """The kind of the request that set it, and its source."""
    asked: Asked
    numbers: list[int] = field(default_factory=list)
    """Ids of its breakpoints of the node."""
    code: KnownCode | None = None
    verified: bool = False
    message: str = NO_SESSION
    has_failed: bool = False
    """Whether it will not become a breakpoint of the node later."""
    count: int = 0
    """How often it was hit, in either direction."""

    def is_met(self) -> bool:
        """Count a hit; returns whether its hit condition stops at this count."""
        self.count += 1
        found = _HITS.fullmatch(self.asked.hits)
        return found is None or bool(_COMPARE[found[1] or "=="](self.count, int(found[2])))

    def shown(self, it: Debugged) -> Json:
        """The breakpoint in the protocol's form."""
        answer: Json = {"id": self.id, "verified": self.verified}
        if not self.verified:
            answer |= {"message": self.message, "reason": "failed" if self.has_failed else "pending"}
        if self.asked.line is not None:
            answer["line"] = it.line_out(self.asked.line - 1)
        if self.code is not None and (pc := self.pc_in(self.code)) is not None:
            answer["instructionReference"] = self.code.reference(pc)
            answer["source"] = self.code.source
        return answer

    def pc_in(self, code: KnownCode) -> int | None:
        """Its pc in a code; None if there is no such instruction."""
        if self.asked.line is not None:
            return code.pcs[self.asked.line - 1] if 1 <= self.asked.line <= len(code.pcs) else None
        return self.asked.pc if self.asked.pc is not None and code.begins_at(self.asked.pc) else None


def is_hit_condition(text: str) -> bool:
    """Whether it is a number, optionally after ==, >, >=, <, <= or %."""
    return not text or _HITS.fullmatch(text) is not None


class Points:
    """All breakpoints of an editor."""

    def __init__(self) -> None:
        self._groups: dict[str, list[Point]] = {}
        self._given = 0
        self._left: list[int] = []
        """Breakpoints of the node that still have to be removed."""
        self.are_off = False
        """Whether breakpoints are off, for a run without debugging."""

    def switch(self, *, off: bool) -> None:
        """Set none of them, as in a run without debugging; or set them again."""
        self.are_off = off

    def __iter__(self) -> Iterator[Point]:
        return iter([point for group in self._groups.values() for point in group])

    @property
    def numbers(self) -> list[int]:
        """Ids of the node's breakpoints that belong to this editor."""
        return [number for point in self for number in point.numbers] + self._left

    def replace(self, it: Debugged, group: str, wanted: Iterable[Asked]) -> list[Json]:
        """Replace the breakpoints of a group; returns an answer for each, in order."""
        before = self._groups.get(group, [])
        points: list[Point] = []
        for asked in wanted:
            same = next((point for point in before if point.asked == asked and point not in points), None)
            if same is None:
                self._given += 1
                same = Point(self._given, group, asked)
            same.has_failed = False  # those refused because of a limit may succeed now
            points.append(same)
        self._groups[group] = points
        self._left += [number for point in before if point not in points for number in point.numbers]
        self.settle(it, points)
        return [point.shown(it) for point in points]

    def rename(self, before: str, group: str) -> None:
        """Rename a group."""
        if before != group and before in self._groups:
            self._groups.setdefault(group, []).extend(self._groups.pop(before))

    def settle(self, it: Debugged, points: list[Point] | None = None) -> list[Json]:
        """Set those of some points (None: all) that can be set now; returns the events for the editor."""
        if it.session is None or self.are_off:
            return []
        events = []
        self._remove_left(it)
        for point in self if points is None else points:
            if point.verified or point.has_failed or (point.numbers and _code_of(it, point) is None):
                continue
            if self._install(it, point):
                events.append({"event": "breakpoint", "body": {"reason": "changed", "breakpoint": point.shown(it)}})
        return events

    def _remove_left(self, it: Debugged) -> None:
        while self._left:
            _remove(it, self._left[-1])
            self._left.pop()

    def _install(self, it: Debugged, point: Point) -> bool:
        """Try to set a point; returns whether it is settled, that is, set or refused."""
        self._left, point.numbers = self._left + point.numbers, []
        point.code = _code_of(it, point)
        try:
            self._remove_left(it)
            for wanted in _of_node(point):
                point.numbers.append(int(it.call("breakpoint_add", wanted)["id"]))
        except ConnectionFailed:
            raise
        except ZvmdError as error:
            self._left, point.numbers = self._left + point.numbers, []
            point.message, point.has_failed = error.message, True
            return True
        if point.asked.refused or (point.code is not None and not point.numbers):
            point.message = point.asked.refused or "the listing has no such instruction"
            point.has_failed = True
        elif point.asked.place is not None and point.code is None:
            point.message = PENDING
        else:
            point.verified = True
        return point.message != PENDING or point.verified

    def moved_to_another_session(self) -> None:
        """Mark all breakpoints as not set."""
        for point in self:
            point.numbers, point.code, point.verified, point.has_failed = [], None, False, False
            point.message, point.count = NO_SESSION, 0
        self._left = []

    def leave(self, it: Debugged) -> None:
        """Remove all breakpoints from the session."""
        for number in self.numbers:
            _remove(it, number)
        self.moved_to_another_session()

    def hit(self, numbers: Iterable[int]) -> tuple[list[Point], bool]:
        """The points that stopped a run, and whether somebody else's breakpoint did."""
        wanted = set(numbers)
        mine = [point for point in self if wanted & set(point.numbers)]
        return mine, bool(wanted - {number for point in mine for number in point.numbers})


def _code_of(it: Debugged, point: Point) -> KnownCode | None:
    return None if point.asked.place is None else point.code or it.code_meant(point.asked.place)


def _of_node(point: Point) -> list[Json]:
    """The node's breakpoints that it needs, as far as the codes are known."""
    asked = point.asked
    if asked.refused:
        return []
    condition = {"condition": asked.condition} if asked.condition else {}
    if asked.place is None:
        return [dict(fixed) | condition for fixed in asked.fixed]
    if point.code is not None:
        pc, code = point.pc_in(point.code), point.code
        if pc is None:
            return []
        return [{"kind": "pc", "pc": pc, "address": code.address, "code": code.hash, "init": code.is_init, **condition}]
    if not asked.place.is_known_to_the_node:
        return []
    limits = {"address": asked.place.address, "init": asked.place.is_init}
    at: Json = {"kind": "pc", "pc": asked.pc} if asked.line is None else {"kind": "line", "line": asked.line}
    return [at | {name: value for name, value in limits.items() if value is not None} | condition]


def _remove(it: Debugged, number: int) -> None:
    with suppress(SessionNotFound):  # somebody has removed it, or the session is closed
        it.call("breakpoint_remove", number)
