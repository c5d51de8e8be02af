"""The newest record of every debug session, from checkpoint and log. Contents are opaque here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from storage.errors import CheckpointBroken, InvalidRecord
from storage.io.kv import KeyValueStore
from storage.sessions.records import Kept, SessionPosition, SnapshotFile
from storage.state.keys import META_SESSIONS, SESSION, SESSION_PLACE, after_prefix, block_key


class Entry(NamedTuple):
    """A session on the shelf."""

    kept: Kept
    lsn: int
    """LSN of the record that changed it last; in a checkpoint just opened, at most the checkpoint's."""

    @property
    def bytes(self) -> int:
        """Bytes of the session's content, here or in its file."""
        content = self.kept.content
        return content.size if isinstance(content, SnapshotFile) else len(content)


class SessionShelf:
    """Sessions by id. Changed by the writer thread only; reads are safe on any thread."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._changed: dict[int, bool] = {}
        """Ids that the next checkpoint has to write or delete; whether more than the place has changed."""
        self._unindexed: dict[int, int] = {}
        """LSN of the last change, of the ids that the index may show otherwise."""
        self._lock = threading.Lock()
        self.highest = 0
        """The highest id ever given; ids are never given twice."""
        self.last_lsn = 0
        """LSN of the newest record."""
        self.unwritten_bytes = 0
        """Bytes of records that no checkpoint holds yet."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._entries.copy()))

    def entry(self, session: int) -> Entry | None:
        """The session's newest state, None if it is closed or never was."""
        return self._entries.get(session)

    def get(self, session: int) -> Kept | None:
        """As `entry`, without the LSN."""
        entry = self._entries.get(session)
        return None if entry is None else entry.kept

    def put(self, session: int, change: Kept | SessionPosition | None, lsn: int, size: int = 0) -> None:
        """Apply a record of ``size`` bytes: the whole session, its new position, or its closing.

        Raises `InvalidRecord` for a move of a session that there is not.
        """
        entry = self._entries.get(session)
        if change is None:
            self._entries.pop(session, None)
        elif isinstance(change, Kept):
            self._entries[session] = Entry(change, lsn)
        elif entry is not None:
            self._entries[session] = Entry(msgspec.structs.replace(entry.kept, place=change), lsn)
        else:
            raise InvalidRecord(f"LSN {lsn} moves session {session}, which there is not")
        self._changed[session] = self._changed.get(session, False) or not isinstance(change, SessionPosition)
        self.highest = max(self.highest, session)
        self.last_lsn = max(self.last_lsn, lsn)
        self.unwritten_bytes += size
        with self._lock:
            self._unindexed[session] = lsn

    @property
    def has_changes(self) -> bool:
        """Whether there is something that no checkpoint holds."""
        return bool(self._changed)

    def take_changes(self) -> tuple[dict[bytes, bytes], list[bytes]]:
        """Puts and deletes for a checkpoint's batch: all that changed since they were taken last.

        They may be newer than the block the checkpoint names: replaying the log over them ends at the same records.
        """
        puts: dict[bytes, bytes] = {}
        deletes: list[bytes] = []
        for session, is_whole in sorted(self._changed.items()):
            kept = self.get(session)
            whole, place = block_key(SESSION, session), block_key(SESSION_PLACE, session)
            if kept is None:
                deletes += [whole, place]
                continue
            puts[place] = msgspec.msgpack.encode(kept.place)
            if is_whole:
                puts[whole] = msgspec.msgpack.encode(kept)
        if self._changed:
            puts[META_SESSIONS] = self.highest.to_bytes(8, "big")
        self._changed.clear()
        self.unwritten_bytes = 0
        return puts, deletes

    def load(self, kv: KeyValueStore, lsn: int) -> None:
        """Read what the last checkpoint, at ``lsn``, holds. Raises `CheckpointBroken`."""
        self.highest = int.from_bytes(kv.get(META_SESSIONS) or b"", "big")
        snapshot = kv.snapshot()
        try:
            for key, record in snapshot.iterate(SESSION, after_prefix(SESSION)):
                session = int.from_bytes(key[len(SESSION) :], "big")
                place = snapshot.get(block_key(SESSION_PLACE, session))
                if len(key) != len(SESSION) + 8 or not 0 < session <= self.highest or place is None:
                    raise CheckpointBroken(f"{key[:40]!r} is not a session's key")
                try:
                    kept = msgspec.msgpack.decode(record, type=Kept)
                    kept = msgspec.structs.replace(kept, place=msgspec.msgpack.decode(place, type=SessionPosition))
                except msgspec.MsgspecError as error:
                    raise CheckpointBroken(f"session {session}: {error}") from None
                self._entries[session] = Entry(kept, lsn)
        finally:
            snapshot.close()
        self.last_lsn = lsn

    # For the index

    def unindexed(self, durable: int | None = None) -> dict[int, int]:
        """Ids changed since they were indexed, with the LSN of the change; only durable ones if that is given."""
        with self._lock:
            return {session: lsn for session, lsn in self._unindexed.items() if durable is None or lsn <= durable}

    def indexed(self, changes: dict[int, int]) -> None:
        """The index has these; what changed again meanwhile stays."""
        with self._lock:
            for session, lsn in changes.items():
                if self._unindexed.get(session) == lsn:
                    del self._unindexed[session]

    def snapshots(self) -> set[tuple[int, bytes]]:
        """Session and digest of every snapshot file that is named."""
        found = ((session, entry.kept.content) for session, entry in self._entries.copy().items())
        return {(session, content.blake2b) for session, content in found if isinstance(content, SnapshotFile)}
