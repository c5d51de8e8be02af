"""Times the write-ahead log on the real file system, after checking that it holds what was written.

    python benchmarks/wal.py [--directory D] [--records N] [--size BYTES]

Prints microseconds per record for append and flush, p50 and p99 of single commits and of groups, and what
reading back costs. An absolute time means nothing on another machine.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import tempfile
import time
from pathlib import Path

from storage.io.files import RealFs
from storage.wal import RecordType, Wal, WalIdentity

CHAIN = WalIdentity(bytes(32), 31337)


def percentile(times: list[float], share: float) -> float:
    """In microseconds."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e6


def spread(times: list[float]) -> str:
    """Median and 99th percentile, in words."""
    return f"p50 {percentile(times, 0.5):7.1f} us  p99 {percentile(times, 0.99):7.1f} us"


def checked(root: Path, payloads: list[bytes]) -> float:
    """Reopen, compare everything, and return the microseconds a record took to open and read."""
    start = time.perf_counter()
    log = Wal.open(RealFs(root), "wal", CHAIN)
    found = [record.payload for record in log.records()]
    spent = time.perf_counter() - start
    log.close()
    wanted, got = (hashlib.sha256(b"".join(list_)).hexdigest() for list_ in (payloads, found))
    assert len(found) == len(payloads)
    assert wanted == got, "the log does not hold what was written"
    return spent / len(payloads) * 1e6


def commits(root: Path, payloads: list[bytes], group: int) -> tuple[list[float], float]:
    """Seconds of each flush of ``group`` records, and in total."""
    log = Wal.open(RealFs(root), "wal", CHAIN)
    times = []
    begin = time.perf_counter()
    for first in range(0, len(payloads), group):
        start = time.perf_counter()
        for payload in payloads[first : first + group]:
            log.append(RecordType.TRANSACTION, payload)
        log.flush()
        times.append(time.perf_counter() - start)
    total = time.perf_counter() - begin
    log.close()
    return times, total


def raw_syncs(root: Path, payload: bytes, count: int) -> list[float]:
    """The floor: the same write and sync without the log."""
    fs = RealFs(root)
    file = fs.open("raw", create=True)
    file.fallocate(64 * 1024 * 1024)
    file.fsync()
    times = []
    for index in range(count):
        start = time.perf_counter()
        file.pwrite(index * len(payload), payload)
        file.fdatasync()
        times.append(time.perf_counter() - start)
    file.close()
    return times


def appends(payloads: list[bytes], root: Path) -> tuple[float, float]:
    """Microseconds per record of append alone, and of append plus one great flush."""
    log = Wal.open(RealFs(root), "wal", CHAIN)
    start = time.perf_counter()
    for payload in payloads:
        log.append(RecordType.TRANSACTION, payload)
    middle = time.perf_counter()
    log.flush()
    end = time.perf_counter()
    log.close()
    return (middle - start) / len(payloads) * 1e6, (end - start) / len(payloads) * 1e6


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=300)
    options = parser.parse_args()
    payloads = [random.Random(index).randbytes(options.size) for index in range(options.records)]
    root = Path(tempfile.mkdtemp(dir=options.directory))
    try:
        floor = raw_syncs(root, payloads[0].ljust(344, b"\0"), 1000)
        print(f"write + fdatasync alone    {spread(floor)}")
        for group in (1, 10, 100):
            part = payloads[: min(len(payloads), 1000 * group)]
            place = root / f"group{group}"
            place.mkdir()
            times, total = commits(place, part, group)
            scan = checked(place, part)
            speed = f"{len(part) / total:9.0f} records/s  read back {scan:5.2f} us/record"
            print(f"{group:4} records a flush      {spread(times)}  {speed}")
        place = root / "bulk"
        place.mkdir()
        append, whole = appends(payloads, place)
        scan = checked(place, payloads)
        print(f"us/record: append {append:.2f}, append + flush {whole:.2f}, open + read back {scan:.2f}")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
