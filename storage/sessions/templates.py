"""Users' own templates by name, from checkpoint and log. Contents are opaque here."""

from __future__ import annotations

from collections.abc import Iterator

from storage.errors import CheckpointBroken
from storage.io.kv import KeyValueStore
from storage.state.keys import TEMPLATE, after_prefix


class TemplateShelf:
    """Changed by the writer thread only; reads are safe on any thread."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}
        self._changed: set[str] = set()

    def __len__(self) -> int:
        return len(self._contents)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._contents.copy()))

    def get(self, name: str) -> bytes | None:
        """Content of a template, None if there is none of that name."""
        return self._contents.get(name)

    def put(self, name: str, content: bytes | None) -> None:
        """Replace a template; None removes it."""
        if content is None:
            self._contents.pop(name, None)
        else:
            self._contents[name] = content
        self._changed.add(name)

    @property
    def has_changes(self) -> bool:
        """Whether there is something that no checkpoint holds."""
        return bool(self._changed)

    def take_changes(self) -> tuple[dict[bytes, bytes], list[bytes]]:
        """Puts and deletes for a checkpoint's batch."""
        changed, self._changed = sorted(self._changed), set()
        puts = {TEMPLATE + name.encode(): self._contents[name] for name in changed if name in self._contents}
        return puts, [TEMPLATE + name.encode() for name in changed if name not in self._contents]

    def load(self, kv: KeyValueStore) -> None:
        """Load the fates of the last checkpoint. Raises `CheckpointBroken`."""
        snapshot = kv.snapshot()
        try:
            for key, content in snapshot.iterate(TEMPLATE, after_prefix(TEMPLATE)):
                self._contents[key[len(TEMPLATE) :].decode()] = content
        except UnicodeDecodeError as error:
            raise CheckpointBroken(f"a template's name: {error}") from None
        finally:
            snapshot.close()
