"""What an editor debugs: a session of the node, the contracts it has run, and the editor's capabilities."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from chain.forks import Fork
from debugger.frontend import disassemble
from node.dap.arguments import Arguments, Initialize, Launch, Refused, Source, number_in
from node.dap.codes import CODE_SHIFT, ROWS_OUTSIDE_MAX, CodeSelector, KnownCode
from node.dap.points import Points

Json = dict[str, Any]
Ask = Callable[..., Any]
"""Calls a method of the node: name, parameters."""

_NAME = re.compile(r"(0x[0-9a-f]{40})(\.init)?(?:\.([0-9a-f]{8}))?\.evm", re.IGNORECASE)
_URI = re.compile("[a-z][a-z0-9+.-]+:", re.IGNORECASE)
CREATES = ("create", "create2")


@dataclass
class Debuggee:
    """The state of one editor's debugging."""

    ask: Ask
    points: Points = field(default_factory=Points)
    session: int | str | None = None
    """Its number, or a share token; None before launch and attach."""
    is_own: bool = False
    """Whether the session was created for this editor."""
    launched: Launch | None = None
    """The arguments of launch or attach."""
    is_attached: bool = False
    codes: list[KnownCode] = field(default_factory=list)
    exception: Json | None = None
    """The body of `exceptionInfo` at the current position."""
    is_initialized: bool = False
    line_base: int = 1
    column_base: int = 1
    tells_invalidated: bool = False
    """Whether the editor wants events when values change."""
    is_over: bool = False

    # What becomes of it

    def initialize(self, arguments: Initialize) -> None:
        """Note how the editor counts and what it wants to know. Raises `Refused` the second time."""
        if self.is_initialized:
            raise Refused("initialize was already called")
        self.is_initialized = True
        self.line_base, self.column_base = int(arguments.lines_start_at1), int(arguments.columns_start_at1)
        self.tells_invalidated = arguments.supports_invalidated_event

    def open(self, session: int | str, launched: Launch) -> None:
        """Debug a session from now on; no code of it has been met."""
        self.session, self.launched, self.is_attached = session, launched, launched.session is not None
        self.is_own = not self.is_attached and not launched.keep
        self.points.switch(off=launched.no_debug)
        self.codes.clear()

    def relaunch(self, launched: Launch) -> None:
        """Begin the same session again, with other options such as ``stop_on_entry``."""
        self.launched = launched

    def disconnect(self, ends: bool | None) -> None:
        """The editor leaves; whether the session ends, by default (None) if it was not attached to."""
        if self.launched is not None and self.launched.keep and not self.is_attached:
            ends = False
        self.is_own = (not self.is_attached if ends is None else ends) and self.session is not None
        self.is_over = True

    def lose_editor(self) -> None:
        """The editor reads nothing any more."""
        self.is_over = True

    def leave(self) -> None:
        """No session is debugged from now on."""
        self.session, self.is_own = None, False
        self.points.moved_to_another_session()

    def stop_at(self, exception: Json | None) -> None:
        """Note what failed where it stopped, or that nothing did."""
        self.exception = exception

    # The session

    def call(self, name: str, *params: Any) -> Any:
        """Call a method of the session."""
        if self.session is None:
            raise Refused("there is no session yet: launch or attach first")
        return self.ask(f"zvmd_session_{name}", self.session, *params)

    def state(self, frame: int | None, **windows: tuple[int, int]) -> Json:
        """The state at a frame (None: the running one); of each long field only the given window."""
        query: Json = {name: {"offset": 0, "limit": 0} for name in LONG}
        query |= {name: {"offset": offset, "limit": limit} for name, (offset, limit) in windows.items()}
        return dict(self.call("state", query if frame is None else {**query, "frame": frame}))

    # Lines, which some editors count from 0

    def line_out(self, row: int) -> int:
        """The line of a row, as the editor counts."""
        return row + self.line_base

    def row_in(self, line: int) -> int:
        """The row of a line as the editor counts."""
        return line - self.line_base

    # Codes

    def frames(self) -> list[Json]:
        """Call frames, the outermost first; empty at the end of the run. Their codes are registered."""
        frames = list(self.state(None, callFrames=(0, FRAMES_MAX))["callFrames"])
        for at, frame in enumerate(frames):
            self.code_of(at, frame)
        return frames

    def code_of(self, at: int, frame: Json) -> KnownCode:
        """The code of a call frame."""
        key = frame["codeAddress"], frame["codeHash"], frame["kind"] in CREATES
        return self._known(key) or self._met(at)

    def code_at_the_end(self) -> KnownCode:
        """The code that ran last, when the run has ended."""
        brief = self.call("code", None, 0, 0)
        return self._known((brief["address"], brief["hash"], brief["init"])) or self._met(None)

    def _known(self, key: tuple[str, str, bool]) -> KnownCode | None:
        return next((code for code in self.codes if code.key == key), None)

    def _met(self, frame: int | None) -> KnownCode:
        answer = self.call("code", frame)
        content = bytes.fromhex(answer["code"][2:])
        lines = tuple(disassemble(content, Fork[answer["fork"].upper()]))
        name = (answer["address"] or "nothing") + (".init" if answer["init"] else "")
        if any(code.name == f"{name}.evm" for code in self.codes):
            name += "." + answer["hash"][2:10]
        code = KnownCode(
            len(self.codes) + 1, answer["hash"], answer["address"], answer["init"], f"{name}.evm", content, lines,
            tuple(line.pc for line in lines),
        )  # fmt: skip
        self.codes.append(code)
        return code

    def code_numbered(self, number: int) -> KnownCode:
        """A code that has run before."""
        if not 1 <= number <= len(self.codes):
            raise Refused(f"no source {number}")
        return self.codes[number - 1]

    def place_of(self, source: Source) -> CodeSelector:
        """The place that an editor's source means. A name precedes a number, which may come from an earlier
        debugging session. Raises `Refused`.
        """
        for text in (source.name, source.path):
            found = _NAME.fullmatch(_base_name(text or ""))
            if found is not None:
                begin = None if found[3] is None else "0x" + found[3].lower()
                return CodeSelector(found[1].lower(), begin, found[2] is not None)
        if source.source_reference <= 0:
            raise Refused("sources are listings of codes, named like 0x….evm: no such source")
        return CodeSelector(number=source.source_reference)

    def code_meant(self, place: CodeSelector) -> KnownCode | None:
        """The code if it has run; the first of several."""
        return next((code for code in self.codes if place.means(code)), None)

    def at_address(self, reference: str, offset: int = 0) -> tuple[int, int]:
        """Number of the code (0: none) and pc of an address; the pc is negative before the code's start."""
        at = number_in(reference, "the address") + offset
        number = (at + ROWS_OUTSIDE_MAX) >> CODE_SHIFT
        return number, at - (number << CODE_SHIFT)


Row = tuple[type[Arguments], Callable[[Debuggee, Any], Json]]
"""The type of a request's arguments, and the handler that returns the body of the response."""


def _base_name(path: str) -> str:
    """The last part of a path or URI, such as ``debug:0x….evm?session=1``."""
    whole = unquote(path.partition("?")[0]) if _URI.match(path) else path
    return re.split(r"[/\\:]", whole)[-1]


LONG = ("stack", "memory", "returnData", "calldata", "storage", "transientStorage", "logs", "callFrames")
FRAMES_MAX = 1_100
"""More than `vm.limits.CALL_DEPTH`."""
