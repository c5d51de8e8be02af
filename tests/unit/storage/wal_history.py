"""Scripted life of a log on a simulated disk, and the oracle: nothing acknowledged lost, nothing altered."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from storage.errors import StorageError, StorageFull
from storage.wal import RecordType, Wal, WalIdentity
from tests.simulation.simfs import SimFs

CHAIN = WalIdentity(bytes(range(32)), 31337)
SEGMENT_SIZE = 8192

Step = tuple[str, int]
"""("append", payload length), ("flush", 0), ("close", 0), ("kill", 0)."""


def append(*sizes: int) -> list[Step]:
    return [("append", size) for size in sizes]


def group(*sizes: int) -> list[Step]:
    return [*append(*sizes), ("flush", 0)]


CLOSE: Step = ("close", 0)
KILL: Step = ("kill", 0)

WORKLOADS: dict[str, list[Step]] = {
    "first record": group(10),
    "three groups": group(100) + group(1, 2, 3) + group(700, 0),
    "two records straddling a sector": group(400, 80) + group(300, 300, 300),
    "a group of many": group(*range(0, 120, 7)),
    "unflushed tail": group(50) + append(60, 70),
    "fills a segment exactly": group(1000, 1000) + group(8192 - 4096 - 64 - 2 * 1040 - 40) + group(5),
    "rotates": group(1500) + group(1500) + group(1500) + group(900),
    "rotates within a flush": group(1200, 1200, 1200, 1200, 1200, 1200),
    "clean restarts": [*group(200), CLOSE, *group(300), CLOSE, *group(2500), CLOSE],
    "killed between flushes": [*group(200), *append(100), KILL, *group(300), KILL, KILL, *group(2500, 1500)],
    "rotation after restart": [*group(2000, 1500), CLOSE, *group(800), KILL, *group(2900), *group(3000)],
    "large records": group(3000) + group(3900) + group(3900, 10),
}


@dataclass
class History:
    """What a test knows from outside the log."""

    seed: int
    appended: list[bytes] = field(default_factory=list)
    """Payload of LSN 1, 2, ..."""
    acknowledged: int = 0
    """The highest LSN a flush has returned."""
    lives: int = 0
    patient: bool = False
    """Whether a flush that finds the disk full appends one more record and tries again."""

    def open(self, fs: SimFs, **options: int) -> Wal:
        """Open the log, check what it holds against what is known, and forget what it lost rightfully."""
        self.lives += 1
        source = random.Random(f"{self.seed} {self.lives} {len(self.appended)}")
        log = Wal.open(fs, "wal", CHAIN, segment_size=SEGMENT_SIZE, random_bytes=source.randbytes, **options)
        self.check(log)
        del self.appended[log.durable_lsn :]
        self.acknowledged = log.durable_lsn
        return log

    def check(self, log: Wal) -> None:
        """The log holds all that was acknowledged, and nothing but what was appended, in order."""
        records = list(log.records())
        assert [record.lsn for record in records] == list(range(1, len(records) + 1))
        assert len(records) == log.durable_lsn == log.next_lsn - 1
        assert len(records) >= self.acknowledged, f"lost {self.acknowledged - len(records)} records"
        assert [record.payload for record in records] == self.appended[: len(records)]

    def append(self, log: Wal, size: int) -> None:
        lsn = len(self.appended) + 1
        payload = random.Random(self.seed * 1_000_003 + lsn * 7919 + self.lives).randbytes(size)
        self.appended.append(payload)
        assert log.append(RecordType.TRANSACTION, payload) == lsn

    def flush(self, log: Wal) -> None:
        try:
            self.acknowledged = log.flush()
        except StorageFull:
            if not self.patient:
                raise
            self.append(log, 11)
            self.acknowledged = log.flush()
        assert self.acknowledged == len(self.appended)

    def live(self, fs: SimFs, steps: list[Step]) -> SimFs:
        """Do the steps. Ends with `SimCrash` if the file system says so. Returns the machine it ended on."""
        self.machine = fs
        log = self.open(fs)
        for kind, size in steps:
            if kind == "append":
                self.append(log, size)
            elif kind == "flush":
                self.flush(log)
            elif kind == "close":
                log.close()
                self.acknowledged = len(self.appended)
                log = self.open(fs)
            else:
                before, fs = fs, fs.restart()
                self.machine = fs
                # Calls are counted on, so that one number means one place in the workload.
                fs.calls, fs.trace = before.calls, before.trace
                fs._crash_at, fs._faults = before._crash_at, before._faults
                log = self.open(fs)
        return fs

    def continues(self, fs: SimFs, seed: int) -> int:
        """Recover, write, crash again, recover: the log is whole. Returns the images looked at."""
        log = self.open(fs)
        for size in (33, 900):
            self.append(log, size)
        self.flush(log)
        self.append(log, 77)
        fs.crash()
        images = 0
        for _, image in fs.survivors(seed, 3):
            copy = History(self.seed, list(self.appended), self.acknowledged, self.lives)
            copy.open(image)
            images += 1
        return images


def counted_calls(steps: list[Step], seed: int) -> list[str]:
    """The names of the calls a workload makes when nothing goes wrong."""
    history, fs = History(seed), SimFs(seed)
    return history.live(fs, steps).trace


def refusal(fs: SimFs, **options: int) -> StorageError | None:
    """The error with which the log refuses to open or to be read to its end; None if it is fine."""
    try:
        log = Wal.open(fs, "wal", CHAIN, segment_size=SEGMENT_SIZE, random_bytes=bytes, **options)
        for _ in log.records():
            pass
    except StorageError as error:
        return error
    return None
