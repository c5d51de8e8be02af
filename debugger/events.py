"""Events, which a session returns for commands: plain data that a service can store, send and show."""

from __future__ import annotations

import msgspec

from debugger.breakpoints import Breakpoint
from debugger.edits import Edit
from debugger.outcome import HaltState


class Stopped(msgspec.Struct, frozen=True, tag="stopped", omit_defaults=True):
    """The session is at a step.

    Reasons: loaded, reset, step, seek, breakpoint, halt, start (of a reverse run), paused, limit, edit, branch.
    """

    step: int
    reason: str
    breakpoints: tuple[int, ...] = ()
    """Ids of the breakpoints that hold here."""
    halt: HaltState | None = None


class BreakpointSet(msgspec.Struct, frozen=True, tag="breakpoint_set"):
    """A breakpoint was added or changed."""

    breakpoint: Breakpoint


class BreakpointRemoved(msgspec.Struct, frozen=True, tag="breakpoint_removed"):
    """A breakpoint was removed."""

    id: int


class Branch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A branch: the program's run with these edits. Branch 0 has none."""

    id: int
    parent: int | None
    step: int
    """Step at which it left its parent."""
    edits: tuple[Edit, ...]
    name: str = ""


class Branched(msgspec.Struct, frozen=True, tag="branched"):
    """An edit was applied, on a new branch or on the newest."""

    branch: Branch


class Renamed(msgspec.Struct, frozen=True, tag="renamed"):
    """Name or tags have changed."""

    name: str
    tags: tuple[str, ...]


Event = Stopped | BreakpointSet | BreakpointRemoved | Branched | Renamed
