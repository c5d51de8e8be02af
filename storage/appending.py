"""Records that the log does not have yet: the writer makes them, with the LSNs they will get; the committer appends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from storage.errors import RecordTooLarge
from storage.io.failpoints import reach
from storage.wal import Wal
from storage.wal.records import RecordType


class NewRecord(NamedTuple):
    """A record that has not been appended to the log yet."""

    lsn: int
    """The LSN that the log will give it."""
    type: RecordType
    payload: bytes
    optional: bool = False
    """Whether an older program may skip it."""


class NewRecords:
    """Records in the order in which they will be appended. Owned by the writer."""

    def __init__(self, next_lsn: int, max_payload: int) -> None:
        """``next_lsn``: what the log gives next. ``max_payload``: bytes of the largest record it takes."""
        self.max_payload = max_payload
        self._next_lsn = next_lsn
        self._records: list[NewRecord] = []

    @property
    def last_lsn(self) -> int:
        """LSN of the newest record, appended or not."""
        return self._next_lsn - 1

    def add(self, kind: RecordType, payload: bytes, *, optional: bool = False) -> int:
        """Add a record; returns its LSN. Raises `RecordTooLarge`."""
        if len(payload) > self.max_payload:
            raise RecordTooLarge(f"a record of {len(payload)} bytes; at most {self.max_payload} fit")
        lsn = self._next_lsn
        self._next_lsn += 1
        self._records.append(NewRecord(lsn, kind, payload, optional))
        return lsn

    def take(self) -> list[NewRecord]:
        """Return and remove the records added since the last call."""
        records, self._records = self._records, []
        return records


def append(wal: Wal, records: Sequence[NewRecord]) -> None:
    """Queue records in the log together; they are durable after its next flush. Raises `StorageFull`, `WalClosed`."""
    if not records:
        return
    reach("log.append.before")
    lsn = wal.append_all([(kind, payload, optional) for _, kind, payload, optional in records])
    reach("log.append.after")
    assert lsn == records[0].lsn, f"the log gave LSN {lsn} to the record that was made for {records[0].lsn}"
