"""`Session`: a debug session of a node as an object, for scripts and notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from zvmd.session_view import QUERY, SessionView, shown, value_of


class Rpc(Protocol):
    """A blocking client, as `zvmd.SyncClient` is."""

    def rpc(self, method: str, *params: Any) -> Any:
        """Result of a JSON-RPC method."""

    def watch(self, session: int | str, cursor: int | None = None) -> Iterator[dict[str, Any]]:
        """Events of a session."""


class Session:
    """A handle: the session lives in the node, and survives it.

    >>> with zvmd.Node() as node:  # doctest: +SKIP
    ...     session = zvmd.Session.create(node, code="0x6001600201")
    ...     session.step(2)
    ...     session.state()["stack"]
    ['0x1', '0x2']

    Moves return where the session is: step, pc, opcode, gasLeft, depth, halt, reason.
    """

    def __init__(self, node: Rpc, number: int | str) -> None:
        """``number`` is the session's, or a share token somebody gave you (`share`)."""
        self.node = node
        self.id = number

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

    def call(self, name: str, *params: Any) -> Any:
        """Any command ``zvmd_session_<name>`` of this session."""
        return self.node.rpc(f"zvmd_session_{name}", self.id, *params)

    def step(self, n: int = 1) -> dict[str, Any]:
        """Execute operations, entering calls."""
        return dict(self.call("step", n))

    def step_back(self, n: int = 1) -> dict[str, Any]:
        """Undo operations."""
        return dict(self.call("step_back", n))

    def step_over(self) -> dict[str, Any]:
        """Execute an operation and all that it calls."""
        return dict(self.call("step_over"))

    def step_out(self) -> dict[str, Any]:
        """Run until the caller goes on."""
        return dict(self.call("step_out"))

    def step_over_back(self) -> dict[str, Any]:
        """Undo an operation and all that it called."""
        return dict(self.call("step_over_back"))

    def step_out_back(self) -> dict[str, Any]:
        """Return to the operation that called this frame."""
        return dict(self.call("step_out_back"))

    def seek(self, step: int) -> dict[str, Any]:
        """Go to a step."""
        return dict(self.call("seek", step))

    def run(self) -> dict[str, Any]:
        """Run to a breakpoint or the end."""
        return dict(self.call("run"))

    def reverse_run(self) -> dict[str, Any]:
        """Run backwards to a breakpoint or the start."""
        return dict(self.call("reverse_run"))

    def pause(self) -> None:
        """Have a move that takes long end where it is; from another thread than the one that waits for it."""
        self.call("pause")

    def reset(self) -> dict[str, Any]:
        """To the start, without edits."""
        return dict(self.call("reset"))

    def state(self, **query: Any) -> dict[str, Any]:
        """Everything at this position; ``memory={"offset": 0, "limit": 64}`` and the like choose pages."""
        return dict(self.call("state", query))

    def view(self) -> SessionView:
        """A look at it, for terminals and notebooks; a notebook shows it for the session itself."""
        return SessionView(self.id, self.state(**QUERY))

    def evaluate(self, expression: str, frame: int | None = None) -> int | bytes | None:
        """Value of an expression of the breakpoint language in a frame (None: the running one, 0: the outermost).

        Bytes for ``calldata``, ``mem`` and parts of them longer than a word; None where there is no value.
        """
        return value_of(self.call("evaluate", expression, frame))

    def add_breakpoint(self, kind: str, **fields: Any) -> int:
        """The id of a new breakpoint, such as ``("opcode", opcode="SSTORE")``."""
        return int(self.call("breakpoint_add", {"kind": kind, **fields})["id"])

    def remove_breakpoint(self, number: int) -> None:
        """Remove a breakpoint."""
        self.call("breakpoint_remove", number)

    def edit(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Change the position on a new branch, such as ``("stack", index=0, value=5)``."""
        return dict(self.call("edit", {"kind": kind, **fields}))

    def save(self, name: str | None = None) -> Session:
        """A copy as it is now."""
        return Session(self.node, self.call("save", name)["id"])

    def export(self, file: str | Path, *, sign: bool = False) -> None:
        """Write the session to a file, signed by the node if wanted."""
        Path(file).write_bytes(bytes.fromhex(self.call("export", None, sign)[2:]))

    def compare(self, other: Session, *, ignoring_gas: bool = False) -> dict[str, Any]:
        """The first step at which the two runs differ."""
        return dict(self.call("compare", other.id, {"ignoringGas": ignoring_gas}))

    def state_diff(self, step: int | None = None, other_step: int | None = None, other: Session | None = None) -> Any:
        """What differs between two positions, here or in another session: accounts, storage, stack, memory.

        A step that is not given is where the session is.
        """
        return self.call("state_diff", step, other_step, None if other is None else other.id)

    def share(self, role: str = "watch", ttl: int = 3600, name: str = "") -> str:
        """A token to ``watch`` or ``drive`` this session with for ``ttl`` seconds: ``Session(node, token)``.

        Who has no token of the node connects with it alone: ``zvmd.Node(url, token=token, certificate=...)``.
        """
        return str(self.call("share", role, ttl, name)["token"])

    def shares(self) -> dict[str, Any]:
        """Who has a token, and who drives."""
        return dict(self.call("shares"))

    def unshare(self, share: int) -> None:
        """Revoke a share by its number."""
        self.call("unshare", share)

    def drive(self, *, take_over: bool = False) -> None:
        """Take control: one drives at a time; ``take_over`` takes it from somebody else."""
        self.call("drive", {"takeOver": take_over})

    def release(self) -> None:
        """Give control back: the next who moves has it."""
        self.call("release")

    def watch(self, cursor: int | None = None) -> Iterator[dict[str, Any]]:
        """What is done to the session, live; the ``cursor`` of the last event seen resumes behind it."""
        return self.node.watch(self.id, cursor)

    def close(self) -> None:
        """End the session for good."""
        self.call("close")

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
