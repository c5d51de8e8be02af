"""`Session`: a debug session of a node as an object, for scripts and notebooks.

The commands are those of `zvmd.AsyncSession`, which is the one place that says what each sends and returns. A method
here runs the coroutine of that class on a blocking client: it never waits for an event loop and ends in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from functools import update_wrapper
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from zvmd.async_session import AsyncSession
from zvmd.results import SessionChange
from zvmd.session_view import SessionView, shown

P = ParamSpec("P")
T = TypeVar("T")


class Rpc(Protocol):
    """A blocking client, as `zvmd.SyncClient` is."""

    def rpc(self, method: str, *params: Any) -> Any:
        """Result of a JSON-RPC method."""

    def watch(self, session: int | str, cursor: int | None = None) -> Iterator[SessionChange]:
        """Changes of a session."""


class _Answered:
    """A blocking client where coroutines expect one with an event loop: its answers are there at once."""

    def __init__(self, node: Rpc) -> None:
        self._node = node

    async def rpc(self, method: str, *params: Any) -> Any:
        return self._node.rpc(method, *params)


def _finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError(f"{work} waits")


def _blocking(
    method: Callable[Concatenate[AsyncSession, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Session, P], T]:
    def run(session: Session, /, *args: P.args, **options: P.kwargs) -> T:
        return _finished(method(session._commands, *args, **options))

    update_wrapper(run, method)
    return run


class Session:
    """A handle: the session lives in the node, and survives it.

    >>> with zvmd.Node() as node:  # doctest: +SKIP
    ...     session = zvmd.Session.create(node, code="0x6001600201")
    ...     session.step(2)
    ...     session.state().stack
    (0x1, 0x2)

    Moves return a `zvmd.results.Position`. Errors are those of `zvmd.AsyncSession`.
    """

    def __init__(self, node: Rpc, number: int | str) -> None:
        """``number`` is the session's, or a share token somebody gave you (`share`)."""
        self.node = node
        self.id = number
        self._commands = AsyncSession(_Answered(node), number)

    @classmethod
    def create(cls, node: Rpc, **program: Any) -> Session:
        """A new session of code, a contract (``to``) or a ``transaction``; fields as in ``zvmd_session_create``."""
        return cls(node, node.rpc("zvmd_session_create", program)["id"])

    @classmethod
    def from_template(cls, node: Rpc, name: str) -> Session:
        """A new session of a template's program."""
        return cls(node, node.rpc("zvmd_session_from_template", name)["id"])

    @classmethod
    def load(cls, node: Rpc, file: str | Path) -> Session:
        """A new session of an exported file."""
        return cls(node, node.rpc("zvmd_session_import", "0x" + Path(file).read_bytes().hex())["id"])

    call = _blocking(AsyncSession.call)
    step = _blocking(AsyncSession.step)
    step_back = _blocking(AsyncSession.step_back)
    step_over = _blocking(AsyncSession.step_over)
    step_out = _blocking(AsyncSession.step_out)
    step_over_back = _blocking(AsyncSession.step_over_back)
    step_out_back = _blocking(AsyncSession.step_out_back)
    seek = _blocking(AsyncSession.seek)
    run = _blocking(AsyncSession.run)
    reverse_run = _blocking(AsyncSession.reverse_run)
    pause = _blocking(AsyncSession.pause)
    reset = _blocking(AsyncSession.reset)
    state = _blocking(AsyncSession.state)
    view = _blocking(AsyncSession.view)
    evaluate = _blocking(AsyncSession.evaluate)
    add_breakpoint = _blocking(AsyncSession.add_breakpoint)
    remove_breakpoint = _blocking(AsyncSession.remove_breakpoint)
    edit = _blocking(AsyncSession.edit)
    compare = _blocking(AsyncSession.compare)
    state_diff = _blocking(AsyncSession.state_diff)
    share = _blocking(AsyncSession.share)
    shares = _blocking(AsyncSession.shares)
    unshare = _blocking(AsyncSession.unshare)
    drive = _blocking(AsyncSession.drive)
    release = _blocking(AsyncSession.release)
    close = _blocking(AsyncSession.close)

    def save(self, name: str | None = None) -> Session:
        """A copy of the session as it is now: a session of its own."""
        return Session(self.node, self.call("save", name)["id"])

    def export(self, file: str | Path, *, sign: bool = False) -> int:
        """Write the session to a file, with ``sign`` signed by the node; returns the size in bytes."""
        return Path(file).write_bytes(bytes.fromhex(self.call("export", None, sign)[2:]))

    def watch(self, cursor: int | None = None) -> Iterator[SessionChange]:
        """What is done to the session, live; the ``cursor`` of the last change seen resumes behind it."""
        return self.node.watch(self.id, cursor)

    def __repr__(self) -> str:
        return f"<zvmd.Session {shown(self.id)}>"

    def __str__(self) -> str:
        return str(self.view())

    def __rich__(self) -> SessionView:
        return self.view()

    def _repr_html_(self) -> str:
        return self.view()._repr_html_()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.view()._repr_mimebundle_(include, exclude)
