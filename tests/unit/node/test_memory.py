"""Garbage is collected in quiet moments, or after a long time without one; never twice for nothing."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from node.ops.memory import PATIENCE_SECONDS, QuietCollector, resident_bytes
from tests.daemon import Daemon
from tests.paths import REPO
from tests.rpc import Rpc


class Cycle:
    """Garbage that only a full collection frees."""

    def __init__(self) -> None:
        self.itself = self


def test_it_waits_for_a_pause_and_then_for_new_work(monkeypatch: pytest.MonkeyPatch) -> None:
    collections: list[int] = []
    monkeypatch.setattr(gc, "collect", lambda: collections.append(1) or 7)
    activity, clock = [0.0], [0.0]
    collector = QuietCollector(lambda: activity[0], lambda: clock[0], lambda: 0)
    assert collector.run() == "none yet"  # nothing has happened since the start
    activity[0] = 1.0
    assert collector.run() == "none yet"  # something just did
    assert collector.run() == "7 objects in cycles"
    collector.run()
    assert len(collections) == 1
    for second in range(1, 4):
        activity[0], clock[0] = activity[0] + 1, PATIENCE_SECONDS * second / 2
        collector.run()
    assert len(collections) == 2


def test_it_does_not_wait_while_the_process_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    collections: list[int] = []
    monkeypatch.setattr(gc, "collect", lambda: collections.append(1) or 0)
    activity, held = [0], [100 * 2**20]
    collector = QuietCollector(lambda: activity[0], lambda: 0.0, lambda: held[0])

    def look(size: int) -> int:
        activity[0], held[0] = activity[0] + 1, size
        collector.run()
        return len(collections)

    assert look(110 * 2**20) == 0
    assert look(120 * 2**20) == 1, "it has grown"
    assert look(121 * 2**20) == 1, "what is left is in use"
    assert look(90 * 2**20) == 1
    assert look(110 * 2**20) == 2, "it had shrunk before"


def test_what_an_idle_node_can_do_without_is_dropped_when_it_is_idle_only() -> None:
    activity, held, tidied = [0], [100 * 2**20], []
    collector = QuietCollector(lambda: activity[0], lambda: 0.0, lambda: held[0], lambda: tidied.append(activity[0]))
    activity[0], held[0] = 1, 200 * 2**20
    collector.run()
    assert tidied == [], "it has grown, under load"
    collector.run()
    assert tidied == [1], "the work ended after that"
    activity[0], held[0] = 2, 150 * 2**20
    for _ in range(4):
        collector.run()
    assert tidied == [1, 2]


def test_a_collection_frees_cycles() -> None:
    activity = [0.0]
    collector = QuietCollector(lambda: activity[0])
    gc.collect()
    Cycle()
    activity[0] = 1.0
    collector.run()
    assert int(collector.run().split()[0]) >= 1


def test_memory_is_told() -> None:
    told = resident_bytes()
    assert told["own"] > 2**20
    assert told["files"] > 2**20


IMPATIENT = "import node.daemon.periodic as p; p.GARBAGE_SECONDS = 2.5; from node.cli.main import main; main()"


@pytest.mark.full
def test_a_node_that_nobody_uses_is_idle(tmp_path: Path) -> None:
    """What its own jobs asked of the writer each second counted as work: it never was."""
    command = (sys.executable, "-c", IMPATIENT)
    with Daemon(tmp_path / "data", command=command, environment={"PYTHONPATH": str(REPO)}) as daemon:
        rpc = daemon.rpc()
        rpc.call("eth_call", {"to": "0x" + "11" * 20}, "latest")
        end = time.monotonic() + 60
        while "in cycles" not in str(memory_job(rpc)["lastResult"]):
            assert time.monotonic() < end, memory_job(rpc)
            time.sleep(7)  # to ask is work


COLLECTIONS = """
import gc, threading
def note(phase, details):
    if phase == "start" and threading.current_thread() is threading.main_thread():
        print("COLLECTION", details["generation"], gc.isenabled(), flush=True)
import node.daemon.run as run
switch_off = run.only_chosen_collections
def observed():
    switch_off()
    gc.callbacks.append(note)
run.only_chosen_collections = observed
from node.cli.main import main
main()
"""


def test_no_request_makes_the_event_loop_collect_garbage(tmp_path: Path) -> None:
    """An automatic collection looked at whatever had been made lately, for up to 14 ms."""
    command = (sys.executable, "-c", COLLECTIONS)
    with Daemon(tmp_path / "data", command=command, environment={"PYTHONPATH": str(REPO)}) as daemon:
        rpc = daemon.rpc()
        for _ in range(20):
            rpc.call("eth_getLogs", {"topics": [["0x" + "22" * 32] * 1_000]})
            rpc.call("eth_getBlockByNumber", "latest", True)
        found = [line for line in daemon.printed if line.startswith("COLLECTION")]
        assert found == ["COLLECTION 2 False\n"], "one when the node is ready, asked for"


def memory_job(rpc: Rpc) -> dict[str, Any]:
    return next(job for job in rpc.call("zvmd_status")["jobs"] if job["name"] == "memory")


LARGE_AND_SMALL = """
from node.ops.memory import resident_bytes, tune_malloc
tune_malloc()
bytearray(24 * 2**20)  # freed: malloc left to itself maps nothing smaller any more
before, kept = resident_bytes()["own"], []
for _ in range(12):
    large = [bytearray(b"a" * 6_000_000) for _ in range(2)]
    kept.append(bytes(100_000))
    del large
print(resident_bytes()["own"] - before)
"""


def test_what_is_large_goes_back_when_it_is_freed() -> None:
    """Whatever small things were made in between: without that, answers nobody read left 140 MiB behind."""
    run = subprocess.run([sys.executable, "-c", LARGE_AND_SMALL], capture_output=True, text=True, cwd=REPO, check=True)
    assert int(run.stdout) < 4 * 2**20
