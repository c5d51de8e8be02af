"""The terminal debugger's state: an immutable view, replaced as a whole, from which all panes are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from debugger.frontend import ListingLine

Json = dict[str, Any]

PAGES = {
    "memory": 8_192, "returnData": 8_192, "calldata": 8_192, "storage": 256, "transientStorage": 256, "logs": 256
}  # fmt: skip
"""Fields of a state that are fetched in pages, and the size of a page in bytes or entries."""
STACK_WORDS = 1_024
"""Longest possible stack, always fetched whole."""
CALL_FRAMES = 1_025


@dataclass(frozen=True)
class CodeListing:
    """The code of a frame and its listing."""

    hash: str
    lines: tuple[ListingLine, ...]
    row_of_pc: Mapping[int, int]


@dataclass(frozen=True)
class Options:
    """The user's display options."""

    shows_text: bool = False
    """Show memory also as text."""
    marks_operands: bool = True
    frame: int | None = None
    """Frame whose stack and memory are shown, from 0; None: the running one."""


@dataclass(frozen=True)
class View:
    """The last known state of a session, and the user's options."""

    session: int | str
    state: Json = field(default_factory=dict)
    """``zvmd_session_state``: the first page of everything."""
    pages: Mapping[tuple[str, int], Any] = field(default_factory=dict)
    """Further pages of the same position, by field and page number."""
    code: CodeListing | None = None
    breakpoints: tuple[Json, ...] = ()
    marks: Json = field(default_factory=dict)
    """``zvmd_session_timeline``."""
    tree: Json | None = None
    """``zvmd_session_call_tree``; None until it has been fetched."""
    message: str = ""
    """The last answer or error, one line."""
    is_busy: bool = False
    count: str = ""
    """Digits typed so far: the count of the next key."""
    options: Options = Options()

    @property
    def is_loaded(self) -> bool:
        """Whether there is a state to show."""
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
        """Number of bytes or entries in a field of the state."""
        return int(self.state["pages"][name]["total"])

    def page(self, name: str, number: int) -> Any | None:
        """A page of a field, None if it is not loaded."""
        return self.state[name] if number == 0 else self.pages.get((name, number))

    def with_page(self, step: int, name: str, number: int, content: Any) -> View:
        """The view with one more page, or unchanged if the page belongs to another position."""
        if step != self.step:
            return self
        return replace(self, pages={**self.pages, (name, number): content})


def query(options: Options) -> Json:
    """The query for the state of a view."""
    asked: Json = {name: {"offset": 0, "limit": size} for name, size in PAGES.items()}
    asked |= {"stack": {"offset": 0, "limit": STACK_WORDS}, "callFrames": {"offset": 0, "limit": CALL_FRAMES}}
    return asked if options.frame is None else {**asked, "frame": options.frame}
