"""Snapshots of a journal, to return to again and again; what has not changed since an earlier one is shared.

Keys and values of each container are kept as lists of at most `CHUNK` items. A chunk is shared only if its items
are the very same objects where identity matters: the undo list and nested storage refer to containers, and two of
those may be equal without being the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from operator import is_
from typing import Any, Final, NamedTuple

from vm.journal import Journal

CHUNK: Final = 4096
ENTRY_BYTES: Final = 32
"""A number, on average: most tuples hold one that nothing else does."""


_UNDOABLE: Final = (
    "_undo", "_accounts", "_wiped", "_log_parts", "_warm_accounts", "_refund", "_created", "_touched",
    "_scheduled", "_unread",
)  # fmt: skip
"""The containers of a `Journal`, whose friend this module is, besides those of slots."""


class Chunk(NamedTuple):
    """Some items in order, and the bytes of those that the chunk before it does not hold."""

    items: list[Any]
    cost: int


class Part(NamedTuple):
    """One container's content. Lists have no keys."""

    container: Any
    keys: tuple[Chunk, ...]
    values: tuple[Chunk, ...]


class JournalSnapshot(NamedTuple):
    """All containers of a journal."""

    parts: tuple[Part, ...]

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Identity and bytes of what snapshots share."""
        for part in self.parts:
            for chunk in (*part.keys, *part.values):
                yield id(chunk.items), sys.getsizeof(chunk.items) + chunk.cost

    def items(self) -> int:
        """Keys, values and items of lists."""
        return sum(len(chunk.items) for part in self.parts for chunk in (*part.keys, *part.values))

    def entries(self) -> int:
        """Items in all containers."""
        return sum(len(chunk.items) for part in self.parts for chunk in part.values)


def _containers(journal: Journal) -> Iterator[dict[Any, Any] | list[Any]]:
    """All that may be undone and the undo list itself, each once. Wiped storage hangs on the undo list alone."""
    undo, slots = journal._undo, journal._slots
    nested = (*slots, *slots.storage.values(), *slots.original.values())
    wiped = [held for _, _, held in undo if type(held) is dict] if journal._wiped else []
    yield from {id(c): c for c in (*(getattr(journal, n) for n in _UNDOABLE), *nested, *wiped)}.values()


def _cost(items: list[Any]) -> int:
    """Bytes of items that nothing else holds: those of a container are alike, but for logs, which are bytes."""
    if not items or type(items[-1]) is dict:
        return 0
    if type(items[-1]) is bytes:
        return sum(map(sys.getsizeof, items))
    return len(items) * (sys.getsizeof(items[-1]) + (ENTRY_BYTES if type(items[-1]) is tuple else 0))


def journal_bytes(journal: Journal, kept: JournalSnapshot) -> int:
    """Bytes of a journal besides the items that a snapshot of it holds anyway."""
    containers = list(_containers(journal))
    tables = sum(map(sys.getsizeof, containers))
    items = sum(len(container) * (1 if isinstance(container, list) else 2) for container in containers)
    return tables + 2 * ENTRY_BYTES * max(0, items - kept.items())


def _chunks(items: list[Any], before: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
    chunks = []
    for i in range(0, len(items), CHUNK):
        piece = items[i : i + CHUNK]
        old = before[i // CHUNK] if i // CHUNK < len(before) else None
        if old is None:
            chunks.append(Chunk(piece, _cost(piece)))
        elif len(old.items) == len(piece) and piece[-1] is old.items[-1] and all(map(is_, piece, old.items)):
            chunks.append(old)
        else:
            # A replay makes other objects of the same values.
            new = [item for item, known in zip(piece, old.items, strict=False) if item is not known]
            chunks.append(Chunk(piece, _cost(new) + _cost(piece[len(old.items) :])))
    return tuple(chunks)


def snapshot_journal(journal: Journal, before: JournalSnapshot | None = None) -> JournalSnapshot:
    """All that `restore_journal` needs, sharing with ``before``."""
    known = {id(part.container): part for part in before.parts} if before is not None else {}
    parts = []
    for container in _containers(journal):
        old = known.get(id(container))
        keys, values = ((), ()) if old is None else old[1:]
        if isinstance(container, list):
            parts.append(Part(container, (), _chunks(container, values)))
        else:
            parts.append(
                Part(container, _chunks(list(container), keys), _chunks(list(container.values()), values))
            )
    return JournalSnapshot(tuple(parts))


def restore_journal(snapshot: JournalSnapshot) -> None:
    """Bring the journal's containers back to what they held."""
    for container, keys, values in snapshot.parts:
        container.clear()
        if isinstance(container, list):
            for chunk in values:
                container.extend(chunk.items)
        else:
            for names, chunk in zip(keys, values, strict=True):
                container.update(zip(names.items, chunk.items, strict=True))
