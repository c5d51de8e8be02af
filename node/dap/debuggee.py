"""What an editor debugs: a session of the node, the codes it has met, and the breakpoints it has set."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chain.forks import Fork
from debugger.frontend import Instruction, disassemble

Json = dict[str, Any]
Ask = Callable[..., Any]
"""Calls a method of the node: name, parameters."""

CODE_SHIFT = 32
"""An address is the number of a code, from 1, and the pc in its lower bits: pcs of two contracts differ."""
PC_MASK = (1 << CODE_SHIFT) - 1


class Refused(Exception):
    """A request that cannot be carried out; the message is shown to the user."""


@dataclass(frozen=True)
class Code:
    """A code that was met."""

    number: int
    hash: str
    address: str
    lines: tuple[Instruction, ...]
    pcs: tuple[int, ...]

    def reference(self, pc: int) -> str:
        """The address of an instruction as editors get it."""
        return hex((self.number << CODE_SHIFT) + pc)

    def line_of(self, pc: int) -> int:
        """Line of the listing, from 1."""
        return bisect_left(self.pcs, pc) + 1

    @property
    def source(self) -> Json:
        """The listing as a DAP source."""
        return {"name": f"{self.address}.evm", "sourceReference": self.number, "origin": "bytecode"}


@dataclass
class Debuggee:
    """State of one editor's debugging."""

    ask: Ask
    session: int | str = 0
    """Its number, or a share token."""
    is_own: bool = False
    """It was made for this editor."""
    codes: list[Code] = field(default_factory=list)
    points: dict[str, list[int]] = field(default_factory=dict)
    """Breakpoints in the node, by the kind of request that set them (and its source)."""
    exception: Json | None = None
    """What `exceptionInfo` tells about where it stands."""
    runs_at_once: bool = False
    """It does not stop at its start."""
    is_over: bool = False

    def call(self, name: str, *params: Any) -> Any:
        """A method of the session."""
        return self.ask(f"zvmd_session_{name}", self.session, *params)

    def state(self, frame: int | None, **windows: tuple[int, int]) -> Json:
        """The state at a frame (None: the running one), of each long field only the window that is named."""
        query: Json = {name: {"offset": 0, "limit": 0} for name in LONG}
        query |= {name: {"offset": offset, "limit": limit} for name, (offset, limit) in windows.items()}
        return dict(self.call("state", query if frame is None else {**query, "frame": frame}))

    def code_at(self, frame: int | None) -> Code:
        """The code of a frame, numbered when it is first met."""
        brief = self.call("code", frame, 0, 0)
        for code in self.codes:
            if (code.hash, code.address) == (brief["hash"], brief["address"]):
                return code
        answer = self.call("code", frame)
        fork = Fork[answer["fork"].upper()]
        lines = tuple(disassemble(bytes.fromhex(answer["code"][2:]), fork))
        pcs = tuple(line.pc for line in lines)
        self.codes.append(Code(len(self.codes) + 1, answer["hash"], answer["address"], lines, pcs))
        return self.codes[-1]

    def code_numbered(self, number: int) -> Code:
        """A code met before."""
        if not 1 <= number <= len(self.codes):
            raise Refused(f"no source {number}")
        return self.codes[number - 1]


LONG = ("stack", "memory", "returnData", "storage", "transientStorage", "logs", "callFrames")
