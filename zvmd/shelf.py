"""Sessions of a node by what they are about, and templates: the gallery's and one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zvmd.session import Rpc, Session

PAGE = 200
"""Sessions asked for at once."""


def find_sessions(node: Rpc, **search: Any) -> Iterator[dict[str, Any]]:
    """Lines of all matching sessions, the newest first: id, name, tags, fork, position, halt, contract, used ...

    ``name`` (a part of it), ``tag``, ``contract``, ``transaction``, ``codeHash``, ``fork``, ``pinned``, ``halt``
    (``"none"``: has not ended) choose, and ``usedFrom``, ``usedTo`` and the like for created, steps and bytes.

    >>> [line["name"] for line in zvmd.find_sessions(node, tag="bug", halt="revert")]  # doctest: +SKIP
    """
    cursor: int | None = None
    while True:
        page = {**search, "limit": PAGE} if cursor is None else {**search, "limit": PAGE, "cursor": cursor}
        lines = node.rpc("zvmd_session_list", page)
        yield from lines
        if len(lines) < PAGE:
            return
        cursor = lines[-1]["id"]


def pin_session(node: Rpc, number: int, pinned: bool = True) -> None:
    """Keep a session whatever the node's policy says; false: no longer."""
    node.rpc("zvmd_session_pin", number, pinned)


class Templates:
    """The templates of a node."""

    def __init__(self, node: Rpc) -> None:
        self.node = node

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Name, title, tags and ``own`` of each."""
        yield from self.node.rpc("zvmd_session_template_list")

    def __getitem__(self, name: str) -> dict[str, Any]:
        """A template: program, explanation, expected end."""
        return dict(self.node.rpc("zvmd_session_template_show", name))

    def begin(self, name: str) -> Session:
        """A session of a template's program."""
        return Session.from_template(self.node, name)

    def save(self, session: Session, name: str, title: str = "", explanation: str = "") -> dict[str, Any]:
        """Keep the program of a bytecode session, and how it ends."""
        wanted = {"session": session.id, "name": name, "title": title, "explanation": explanation}
        return dict(self.node.rpc("zvmd_session_template_save", wanted))

    def save_file(self, file: str | Path) -> dict[str, Any]:
        """Keep a template of a TOML file, which has to end as it says."""
        return dict(self.node.rpc("zvmd_session_template_save", {"toml": Path(file).read_text(encoding="utf-8")}))

    def remove(self, name: str) -> None:
        """Remove one's own template."""
        self.node.rpc("zvmd_session_template_remove", name)
