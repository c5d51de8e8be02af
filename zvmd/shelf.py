"""`find_sessions` and `Templates`: debug sessions of a node found again, and programs to begin sessions from.

A node keeps its sessions until they are closed or nobody has used them for long (`pin_session` keeps one whatever its
age). Templates are the programs of the gallery and those that users saved. docs/sessions.md describes both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zvmd.results import SessionEntry, Template, TemplateEntry, result_of
from zvmd.session import Rpc, Session

PAGE = 200
"""Sessions asked for at once."""


def find_sessions(node: Rpc, **search: Any) -> Iterator[SessionEntry]:
    """All matching sessions, the newest first.

    ``name`` (a part of it), ``tag``, ``contract``, ``transaction``, ``codeHash``, ``fork``, ``pinned``, ``halt``
    (``"none"``: has not ended) choose, and ``usedFrom``, ``usedTo`` and the like for created, steps and bytes.

    >>> [entry.name for entry in zvmd.find_sessions(node, tag="bug", halt="revert")]  # doctest: +SKIP
    """
    cursor: int | None = None
    while True:
        page = {**search, "limit": PAGE} if cursor is None else {**search, "limit": PAGE, "cursor": cursor}
        lines = node.rpc("zvmd_session_list", page)
        for line in lines:
            yield result_of(SessionEntry, line)
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

    def __iter__(self) -> Iterator[TemplateEntry]:
        """All of them, by name."""
        for line in self.node.rpc("zvmd_session_template_list"):
            yield result_of(TemplateEntry, line)

    def __getitem__(self, name: str) -> Template:
        """A template, whole. Raises `SessionNotFound`."""
        return result_of(Template, self.node.rpc("zvmd_session_template_show", name))

    def begin(self, name: str) -> Session:
        """A session of a template's program."""
        return Session.from_template(self.node, name)

    def save(self, session: Session, name: str, title: str = "", explanation: str = "") -> Template:
        """Keep the program of a bytecode session, and how it ends."""
        wanted = {"session": session.id, "name": name, "title": title, "explanation": explanation}
        return result_of(Template, self.node.rpc("zvmd_session_template_save", wanted))

    def save_file(self, file: str | Path) -> Template:
        """Keep a template of a TOML file, which has to end as it says."""
        text = Path(file).read_text(encoding="utf-8")
        return result_of(Template, self.node.rpc("zvmd_session_template_save", {"toml": text}))

    def remove(self, name: str) -> None:
        """Remove one's own template."""
        self.node.rpc("zvmd_session_template_remove", name)
