"""`Session`: a debug session of a node as an object, for scripts and notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

SHOWN = 8
"""Stack words that the short view shows."""


class Rpc(Protocol):
    """A blocking client, as `zvmd.SyncClient` is."""

    def rpc(self, method: str, *params: Any) -> Any:
        """Result of a JSON-RPC method."""


class Session:
    """A handle: the session lives in the node, and survives it.

    >>> with zvmd.Node() as node:  # doctest: +SKIP
    ...     session = zvmd.Session.create(node, code="0x6001600201")
    ...     session.step(2)
    ...     session.state()["stack"]
    ['0x1', '0x2']

    Moves return where the session stands: step, pc, opcode, gasLeft, depth, halt, reason.
    """

    def __init__(self, node: Rpc, number: int) -> None:
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

    def _call(self, name: str, *params: Any) -> Any:
        return self.node.rpc(f"zvmd_session_{name}", self.id, *params)

    def step(self, n: int = 1) -> dict[str, Any]:
        """Execute operations, entering calls."""
        return dict(self._call("step", n))

    def step_back(self, n: int = 1) -> dict[str, Any]:
        """Undo operations."""
        return dict(self._call("step_back", n))

    def step_over(self) -> dict[str, Any]:
        """Execute an operation and all that it calls."""
        return dict(self._call("step_over"))

    def step_out(self) -> dict[str, Any]:
        """Run until the caller goes on."""
        return dict(self._call("step_out"))

    def step_over_back(self) -> dict[str, Any]:
        """Undo an operation and all that it called."""
        return dict(self._call("step_over_back"))

    def step_out_back(self) -> dict[str, Any]:
        """Return to the operation that called this frame."""
        return dict(self._call("step_out_back"))

    def seek(self, step: int) -> dict[str, Any]:
        """Stand at a step."""
        return dict(self._call("seek", step))

    def run(self) -> dict[str, Any]:
        """Run to a breakpoint or the end."""
        return dict(self._call("run"))

    def reverse_run(self) -> dict[str, Any]:
        """Run backwards to a breakpoint or the start."""
        return dict(self._call("reverse_run"))

    def state(self, **query: Any) -> dict[str, Any]:
        """Everything at this position; ``memory={"offset": 0, "limit": 64}`` and the like choose pages."""
        return dict(self._call("state", query))

    def add_breakpoint(self, kind: str, **fields: Any) -> int:
        """The id of a new breakpoint, such as ``("opcode", opcode="SSTORE")``."""
        return int(self._call("breakpoint_add", {"kind": kind, **fields})["id"])

    def remove_breakpoint(self, number: int) -> None:
        """Remove a breakpoint."""
        self._call("breakpoint_remove", number)

    def edit(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Change the position on a new branch, such as ``("stack", index=0, value=5)``."""
        return dict(self._call("edit", {"kind": kind, **fields}))

    def save(self, name: str | None = None) -> Session:
        """A copy as it stands now."""
        return Session(self.node, self._call("save", name)["id"])

    def export(self, file: str | Path) -> None:
        """Write the session to a file."""
        Path(file).write_bytes(bytes.fromhex(self._call("export")[2:]))

    def compare(self, other: Session, *, ignoring_gas: bool = False) -> dict[str, Any]:
        """The first step at which the two runs differ."""
        return dict(self._call("compare", other.id, {"ignoringGas": ignoring_gas}))

    def close(self) -> None:
        """End the session for good."""
        self._call("close")

    def __repr__(self) -> str:
        return f"<zvmd.Session {self.id}>"

    def __str__(self) -> str:
        state = self.state(stack={"offset": 0, "limit": 1024}, memory={"offset": 0, "limit": 0})
        halt = state["halt"]
        ended = f"  halted: {halt['reason']}" if halt else ""
        head = f"session {self.id}  step {state['step']}  pc {state['pc']}  {state['opcode']}{ended}"
        words = [f"  {word}" for word in reversed(state["stack"][-SHOWN:])]
        return "\n".join([head, f"gas {state['gasLeft']}  depth {state['depth']}  stack, top first:", *words])
