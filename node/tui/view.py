"""What the terminal debugger knows at one moment: immutable, replaced as a whole, all that panes are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from debugger.frontend import Instruction

Json = dict[str, Any]

PAGES = {
    "memory": 8_192, "returnData": 8_192, "calldata": 8_192, "storage": 256, "transientStorage": 256, "logs": 256
}  # fmt: skip
"""Fields of a state that may be too long to be fetched at once, and how much of each makes a page: bytes, entries."""
STACK_WORDS = 1_024
"""The longest stack there is: always fetched whole."""
CALL_FRAMES = 1_025


@dataclass(frozen=True)
class Code:
    """The code of a frame, listed."""

    hash: str
    lines: tuple[Instruction, ...]
    row_of_pc: Mapping[int, int]


@dataclass(frozen=True)
class Options:
    """How the user wants to see things."""

    shows_text: bool = False
    """Memory also as text."""
    marks_operands: bool = True
    frame: int | None = None
    """Frame whose stack and memory are shown, from 0; None: the running one."""


@dataclass(frozen=True)
class View:
    """A session as it was looked at last, and the user's options."""

    session: int | str
    state: Json = field(default_factory=dict)
    """``zvmd_session_state``: the first page of everything."""
    pages: Mapping[tuple[str, int], Any] = field(default_factory=dict)
    """Further pages of the same position, by field and page number."""
    code: Code | None = None
    breakpoints: tuple[Json, ...] = ()
    marks: Json = field(default_factory=dict)
    """``zvmd_session_timeline``."""
    tree: Json | None = None
    """``zvmd_session_call_tree``; None until the run was followed."""
    message: str = ""
    """The last answer or error, a line."""
    is_busy: bool = False
    count: str = ""
    """Digits typed so far: how often the next key counts."""
    options: Options = Options()

    @property
    def is_loaded(self) -> bool:
        """There is something to show."""
        return bool(self.state)

    @property
    def step(self) -> int:
        """Operations executed."""
        return int(self.state["step"])

    @property
    def length(self) -> int | None:
        """Steps of the whole run, None if it is not known to end."""
        return int(self.tree["steps"]) if self.tree is not None and self.tree["hasEnded"] else None

    def total(self, name: str) -> int:
        """How many bytes or entries a field of the state has."""
        return int(self.state["pages"][name]["total"])

    def page(self, name: str, number: int) -> Any | None:
        """A page of a field, None if it is not here."""
        return self.state[name] if number == 0 else self.pages.get((name, number))

    def with_page(self, step: int, name: str, number: int, content: Any) -> View:
        """The view with a page more, or as it is if the page belongs to another position."""
        if step != self.step:
            return self
        return replace(self, pages={**self.pages, (name, number): content})


def query(options: Options) -> Json:
    """What to ask for a view's state."""
    asked: Json = {name: {"offset": 0, "limit": size} for name, size in PAGES.items()}
    asked |= {"stack": {"offset": 0, "limit": STACK_WORDS}, "callFrames": {"offset": 0, "limit": CALL_FRAMES}}
    return asked if options.frame is None else {**asked, "frame": options.frame}
