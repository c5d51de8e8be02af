"""Commands as plain data: what a service stores in its log and a client sends, and `perform_sliced` for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from debugger.breakpoints import Breakpoint
from debugger.edits import Edit
from debugger.events import Event
from debugger.program import Program
from debugger.session import Moves, Session
from debugger.slices import (
    Slices,
    WantsPause,
    out_back_slices,
    out_slices,
    over_back_slices,
    over_slices,
    reverse_slices,
    run_slices,
    seek_slices,
    step_slices,
)


class _Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something to do with a session."""


class Load(_Command, frozen=True, tag="load"):
    """`Session.load`."""

    program: Program


class Reset(_Command, frozen=True, tag="reset"):
    """`Session.reset`."""


class Step(_Command, frozen=True, tag="step"):
    """`Session.step`."""

    n: int = 1


class StepBack(_Command, frozen=True, tag="step_back"):
    """`Session.step_back`."""

    n: int = 1


class StepOver(_Command, frozen=True, tag="step_over"):
    """`Session.step_over`."""

    limit: int | None = None


class StepOut(_Command, frozen=True, tag="step_out"):
    """`Session.step_out`."""

    limit: int | None = None


class StepOverBack(_Command, frozen=True, tag="step_over_back"):
    """`Session.step_over_back`."""


class StepOutBack(_Command, frozen=True, tag="step_out_back"):
    """`Session.step_out_back`."""


class Seek(_Command, frozen=True, tag="seek"):
    """`Session.seek`."""

    step: int


class Run(_Command, frozen=True, tag="run"):
    """`Session.run`."""

    limit: int | None = None


class ReverseRun(_Command, frozen=True, tag="reverse_run"):
    """`Session.reverse_run`."""


class ToEnd(_Command, frozen=True, tag="to_end"):
    """`Session.to_end`."""


class SetBreakpoint(_Command, frozen=True, tag="set_breakpoint"):
    """`Session.set_breakpoint`."""

    breakpoint: Breakpoint


class RemoveBreakpoint(_Command, frozen=True, tag="remove_breakpoint"):
    """`Session.remove_breakpoint`."""

    id: int


class MakeEdit(_Command, frozen=True, tag="edit"):
    """`Session.edit`."""

    edit: Edit


class Checkout(_Command, frozen=True, tag="checkout"):
    """`Session.checkout`."""

    branch: int
    step: int | None = None


class Rename(_Command, frozen=True, tag="rename"):
    """`Session.rename`."""

    name: str | None = None
    tags: tuple[str, ...] | None = None


Command = (
    Load
    | Reset
    | Step
    | StepBack
    | StepOver
    | StepOut
    | StepOverBack
    | StepOutBack
    | Seek
    | Run
    | ReverseRun
    | ToEnd
    | SetBreakpoint
    | RemoveBreakpoint
    | MakeEdit
    | Checkout
    | Rename
)

_AT_ONCE: Final[dict[type[Any], Callable[[Session, Any], list[Event]]]] = {
    Load: lambda s, c: s.load(c.program),
    Reset: lambda s, _: s.reset(),
    StepBack: lambda s, c: s.step_back(c.n),
    ToEnd: lambda s, _: s.to_end(),
    SetBreakpoint: lambda s, c: s.set_breakpoint(c.breakpoint),
    RemoveBreakpoint: lambda s, c: s.remove_breakpoint(c.id),
    MakeEdit: lambda s, c: s.edit(c.edit),
    Rename: lambda s, c: s.rename(c.name, c.tags),
}

_SLICED: Final[dict[type[Any], Callable[[Session, Any, WantsPause], Slices]]] = {
    Step: lambda s, c, p: step_slices(s.timeline, c.n, p),
    StepOver: lambda s, c, p: over_slices(s.timeline, s.active(), c.limit, p),
    StepOut: lambda s, c, p: out_slices(s.timeline, s.active(), c.limit, p),
    StepOverBack: lambda s, _, p: over_back_slices(s.timeline, s.active(), p),
    StepOutBack: lambda s, _, p: out_back_slices(s.timeline, s.active(), p),
    Seek: lambda s, c, p: seek_slices(s.timeline, c.step, p),
    Run: lambda s, c, p: run_slices(s.timeline, s.active(), c.limit, None, p),
    ReverseRun: lambda s, _, p: reverse_slices(s.timeline, s.active(), p),
}
"""Commands that may take long."""


def perform_sliced(session: Session, command: Command, wants_pause: WantsPause) -> Moves:
    """Carry out a command; its events. Errors leave the session as it was.

    In slices: others may work after every ``yield``; a long move ends early once a pause is wanted.
    """
    if isinstance(command, Checkout):
        return (yield from session.checkout_slices(command.branch, command.step, wants_pause))
    begin = _SLICED.get(type(command))
    if begin is None:
        return _AT_ONCE[type(command)](session, command)
    return (yield from session.sliced(begin(session, command, wants_pause)))
