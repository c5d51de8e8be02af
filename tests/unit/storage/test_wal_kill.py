"""Real processes on the real disk are killed while they write; what they had acknowledged is there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from storage.io.files import RealFs
from storage.wal import Wal
from tests.paths import REPO
from tests.unit.storage.wal_history import CHAIN

WRITER = """
import sys
from pathlib import Path
from storage.io.files import RealFs
from storage.wal import RecordType, Wal
from tests.unit.storage.wal_history import CHAIN

log = Wal.open(RealFs(Path(sys.argv[1])), "wal", CHAIN, segment_size=65536)
print(log.durable_lsn, flush=True)
while True:
    for _ in range(1 + log.next_lsn % 5):
        lsn = log.next_lsn
        log.append(RecordType.TRANSACTION, lsn.to_bytes(8, "big") * (1 + lsn % 90))
    print(log.flush(), flush=True)
"""


def test_killed_writers(tmp_path: Path) -> None:
    source, acknowledged = random.Random(1), 0
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], cwd=REPO, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        found = int(process.stdout.readline())
        assert found >= acknowledged, "the next life begins with all that was acknowledged"
        time.sleep(source.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().split("\n")[:-1]  # the last line may be torn
        process.wait()
        process.stdout.close()
        acknowledged = max([found, *map(int, lines)])
    log = Wal.open(RealFs(tmp_path), "wal", CHAIN, segment_size=65536)
    records = list(log.records())
    assert len(records) >= acknowledged > 0
    for lsn, record in enumerate(records, 1):
        assert record.payload == lsn.to_bytes(8, "big") * (1 + lsn % 90)
    log.close()
