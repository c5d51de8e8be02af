"""The newest record of every debug session: what the log says and a checkpoint keeps. Records are opaque here."""

from __future__ import annotations

from collections.abc import Iterator

from storage.errors import CheckpointBroken
from storage.kv import KeyValueStore
from storage.state.keys import META_SESSIONS, SESSION, after_prefix, block_key


class SessionShelf:
    """Records by session id. Changed by the writer thread only; reads are safe on any thread."""

    def __init__(self) -> None:
        self._records: dict[int, bytes] = {}
        self._changed: set[int] = set()
        """Ids that the next checkpoint has to write or delete."""
        self.highest = 0
        """The highest id ever given; ids are never given twice."""

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._records.copy()))

    def get(self, session: int) -> bytes | None:
        """The session's newest record, None if it is closed or never was."""
        return self._records.get(session)

    def put(self, session: int, record: bytes | None) -> None:
        """Replace a session's record; None forgets the session."""
        if record is None:
            self._records.pop(session, None)
        else:
            self._records[session] = record
        self._changed.add(session)
        self.highest = max(self.highest, session)

    def take_changes(self) -> tuple[dict[bytes, bytes], list[bytes]]:
        """Puts and deletes for a checkpoint's batch: all that changed since they were taken last.

        They may be newer than the block the checkpoint names: replaying the log over them ends at the same records.
        """
        puts: dict[bytes, bytes] = {}
        deletes: list[bytes] = []
        for session in sorted(self._changed):
            record = self._records.get(session)
            if record is None:
                deletes.append(block_key(SESSION, session))
            else:
                puts[block_key(SESSION, session)] = record
        if self._changed:
            puts[META_SESSIONS] = self.highest.to_bytes(8, "big")
        self._changed.clear()
        return puts, deletes

    def load(self, kv: KeyValueStore) -> None:
        """Read what the last checkpoint holds. Raises `CheckpointBroken`."""
        self.highest = int.from_bytes(kv.get(META_SESSIONS) or b"", "big")
        snapshot = kv.snapshot()
        try:
            for key, record in snapshot.iterate(SESSION, after_prefix(SESSION)):
                session = int.from_bytes(key[len(SESSION) :], "big")
                if len(key) != len(SESSION) + 8 or not 0 < session <= self.highest:
                    raise CheckpointBroken(f"{key[:40]!r} is no session's key")
                self._records[session] = record
        finally:
            snapshot.close()
