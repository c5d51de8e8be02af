"""`AsyncSession`: a debug session of a node for programs with an event loop.

Each method is one session command of the node and returns its typed result (`zvmd.results`). `zvmd.Session` has the
same methods for programs without an event loop and is made from this class. docs/sessions.md describes the commands.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Protocol

from zvmd.results import Comparison, Position, Shares, State, StateDiff, result_of
from zvmd.session_view import QUERY, SessionView, shown, value_of


class AsyncRpc(Protocol):
    """A client with an event loop, as `zvmd.Client` is."""

    async def rpc(self, method: str, *params: Any) -> Any:
        """Result of a JSON-RPC method."""


class Handle(Protocol):
    """A session, of either class."""

    id: int | str


class AsyncSession:
    """A handle: the session lives in the node, and survives it.

    >>> async with zvmd.connect() as client:  # doctest: +SKIP
    ...     session = await zvmd.AsyncSession.create(client, code="0x6001600201")
    ...     await session.step(2)
    ...     (await session.state()).stack
    (0x1, 0x2)

    A session does one thing after the other; `pause` may be called while another call waits, and ends a long move.
    Methods raise `zvmd.SessionError` for what the session cannot do: `SessionNotFound` after it was closed,
    `NotDriving` while somebody else has control; and `ConnectionFailed` as every call to a node.
    """

    def __init__(self, node: AsyncRpc, number: int | str) -> None:
        """``number`` is the session's, or a share token somebody gave you (`zvmd.Session.share`)."""
        self.node = node
        self.id = number

    @classmethod
    async def create(cls, node: AsyncRpc, **program: Any) -> AsyncSession:
        """A new session of code, a contract (``to``) or a ``transaction``; fields as in ``zvmd_session_create``."""
        return cls(node, (await node.rpc("zvmd_session_create", program))["id"])

    @classmethod
    async def from_template(cls, node: AsyncRpc, name: str) -> AsyncSession:
        """A new session of a template's program."""
        return cls(node, (await node.rpc("zvmd_session_from_template", name))["id"])

    @classmethod
    async def load(cls, node: AsyncRpc, file: str | Path) -> AsyncSession:
        """A new session of an exported file."""
        content = await asyncio.to_thread(Path(file).read_bytes)
        return cls(node, (await node.rpc("zvmd_session_import", "0x" + content.hex()))["id"])

    async def call(self, name: str, *params: Any) -> Any:
        """Any command ``zvmd_session_<name>`` of this session."""
        return await self.node.rpc(f"zvmd_session_{name}", self.id, *params)

    async def _move(self, name: str, *params: Any) -> Position:
        return result_of(Position, await self.node.rpc(f"zvmd_session_{name}", self.id, *params))

    async def step(self, n: int = 1) -> Position:
        """Execute ``n`` operations, entering calls."""
        return await self._move("step", n)

    async def step_back(self, n: int = 1) -> Position:
        """Undo ``n`` operations."""
        return await self._move("step_back", n)

    async def step_over(self) -> Position:
        """Execute an operation and everything it calls."""
        return await self._move("step_over")

    async def step_out(self) -> Position:
        """Run until the current frame returns to its caller."""
        return await self._move("step_out")

    async def step_over_back(self) -> Position:
        """Undo an operation and everything it called."""
        return await self._move("step_over_back")

    async def step_out_back(self) -> Position:
        """Go back to the operation that called this frame."""
        return await self._move("step_out_back")

    async def seek(self, step: int) -> Position:
        """Go to a step, counted from the start of the run. Raises `StepOutOfRange`."""
        return await self._move("seek", step)

    async def run(self) -> Position:
        """Run to a breakpoint or the end."""
        return await self._move("run")

    async def reverse_run(self) -> Position:
        """Run backwards to a breakpoint or the start."""
        return await self._move("reverse_run")

    async def pause(self) -> None:
        """End a long move where it is; call it from another task (`AsyncSession`) or thread (`Session`)."""
        await self.call("pause")

    async def reset(self) -> Position:
        """Go to the start and drop all edits."""
        return await self._move("reset")

    async def state(self, /, **query: Any) -> State:
        """Everything at this position.

        ``memory={"offset": 0, "limit": 64}`` and the like choose pages of what may be long, ``frame=0`` the outermost
        frame; None is the running one. ``pages`` of the result say how much there is.
        """
        return result_of(State, await self.call("state", query))

    async def view(self) -> SessionView:
        """The session as a table, for terminals and notebooks."""
        return SessionView(self.id, await self.state(**QUERY))

    async def evaluate(self, expression: str, frame: int | None = None) -> int | bytes | None:
        """Value of a breakpoint expression in a frame (None: the running one, 0: the outermost).

        Bytes for ``calldata``, ``mem`` and parts of them longer than a word; None where there is no value. Raises
        `InvalidExpression`.
        """
        return value_of(await self.call("evaluate", expression, frame))

    async def add_breakpoint(self, /, kind: str, **fields: Any) -> int:
        """The number of a new breakpoint, such as ``("opcode", opcode="SSTORE")``. Raises `InvalidBreakpoint`."""
        return int((await self.call("breakpoint_add", {"kind": kind, **fields}))["id"])

    async def remove_breakpoint(self, number: int) -> None:
        """Remove a breakpoint. Raises `SessionNotFound` if there is none of this number."""
        await self.call("breakpoint_remove", number)

    async def edit(self, /, kind: str, **fields: Any) -> Position:
        """Change the position on a new branch, such as ``("stack", index=0, value=5)``. Raises `InvalidEdit`."""
        return await self._move("edit", {"kind": kind, **fields})

    async def save(self, name: str | None = None) -> AsyncSession:
        """A copy of the session as it is now: a session of its own."""
        return AsyncSession(self.node, (await self.call("save", name))["id"])

    async def export(self, file: str | Path, *, sign: bool = False) -> int:
        """Write the session to a file, with ``sign`` signed by the node; returns the size in bytes."""
        content = bytes.fromhex((await self.call("export", None, sign))[2:])
        return await asyncio.to_thread(Path(file).write_bytes, content)

    async def compare(self, other: Handle, *, ignoring_gas: bool = False) -> Comparison:
        """The first step at which the two runs differ; with ``ignoring_gas``, in more than gas."""
        return result_of(Comparison, await self.call("compare", other.id, {"ignoringGas": ignoring_gas}))

    async def state_diff(
        self, step: int | None = None, other_step: int | None = None, other: Handle | None = None
    ) -> StateDiff:
        """Differences between two positions, here or in another session: accounts, storage, stack, memory.

        A step that is not given is where the session is.
        """
        found = await self.call("state_diff", step, other_step, None if other is None else other.id)
        return result_of(StateDiff, found)

    async def share(self, role: str = "watch", ttl: int = 3600, name: str = "") -> str:
        """A token to ``watch`` or ``drive`` this session with for ``ttl`` seconds: ``AsyncSession(node, token)``.

        A program without the node's own token connects with it alone:
        ``zvmd.connect(url, token=token, certificate=...)``.
        """
        return str((await self.call("share", role, ttl, name))["token"])

    async def shares(self) -> Shares:
        """The share tokens, and who is in control."""
        return result_of(Shares, await self.call("shares"))

    async def unshare(self, share: int) -> None:
        """Revoke a share by its number."""
        await self.call("unshare", share)

    async def drive(self, *, take_over: bool = False) -> None:
        """Take control: one drives at a time; ``take_over`` takes it from somebody else."""
        await self.call("drive", {"takeOver": take_over})

    async def release(self) -> None:
        """Release control: the next one to move the session takes it."""
        await self.call("release")

    async def close(self) -> None:
        """Close the session; it cannot be opened again."""
        await self.call("close")

    def __repr__(self) -> str:
        return f"<zvmd.AsyncSession {shown(self.id)}>"
