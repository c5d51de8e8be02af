"""Kills forked nodes (`tests.crash.victim`) at random moments and at named places, and holds them to the record."""

from __future__ import annotations

import ast
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from node.pruning import prune_data_directory
from storage.directory import layout
from storage.errors import PruneRefused
from storage.export import exports, founding_export
from storage.io.atomic import STEPS
from storage.io.files import RealFs
from storage.wal import inspect
from tests.crash.victim import RECEIVERS, SENDERS, Order
from tests.paths import REPO

LIFE_SECONDS = 0.06
RECOVERY_SECONDS = 0.15
KILLED_IN_RECOVERY = 0.25
CYCLES_PER_DIRECTORY = 100
LOOKED_BACK = 3
ANSWER_SECONDS = 60.0


@dataclass
class Memory:
    """What one data directory is known to hold: everything a client was told, kept outside the node."""

    blocks: list[str] = field(default_factory=list)
    """The line of each block."""
    sent: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)
    """Hash -> sender, nonce, receiver, wei."""
    acknowledged: set[str] = field(default_factory=set)
    mined: dict[str, int] = field(default_factory=dict)
    received: list[int] = field(default_factory=lambda: [0] * RECEIVERS)
    nonces: list[int] = field(default_factory=lambda: [0] * SENDERS)
    moved: dict[int, int] = field(default_factory=dict)
    """Debug session -> the newest step asked for."""
    kept: dict[int, int] = field(default_factory=dict)
    """Debug session -> the newest step acknowledged."""
    unanswered: set[str] = field(default_factory=set)
    """Sent in the last life and not answered."""

    def judge(self, lines: list[list[str]]) -> None:
        """Hold what a recovered node shows against this."""
        pool: set[str] = set()
        steps: dict[int, int] = {}
        for kind, *words in lines:
            if kind == "B":
                self._block(words)
            elif kind == "P":
                pool.add(words[0])
            elif kind == "V":
                assert int(words[1]) == self.received[int(words[0])], f"receiver {words}: {self.received}"
            elif kind == "N":
                assert int(words[1]) == self.nonces[int(words[0])], f"sender {words}: {self.nonces}"
            elif kind == "D":
                steps[int(words[0])] = int(words[1])
        for session in self.moved:
            oldest, shown, newest = self.kept.get(session, 0), steps.get(session, 0), self.moved[session]
            assert oldest <= shown <= newest, f"session {session} is at {shown}, not from {oldest} to {newest}"
        lost = self.acknowledged - self.mined.keys() - pool
        assert not lost, f"acknowledged and lost: {lost}"
        unknown = pool - self.sent.keys()
        assert not unknown, f"in the pool, but nobody sent: {unknown}"

    def _block(self, words: list[str]) -> None:
        number, line = int(words[0]), " ".join(words)
        if number < len(self.blocks):
            assert self.blocks[number] == line, f"block {number} changed:\n{self.blocks[number]}\n{line}"
            return
        assert number == len(self.blocks), f"block {number} after {len(self.blocks) - 1}"
        if number:
            assert words[2] == self.blocks[-1].split()[1], f"block {number} has another parent"
        self.blocks.append(line)
        for fact in words[3:]:
            name, status = fact.split(":")
            assert name in self.sent, f"block {number} holds {name}, which nobody sent"
            assert name not in self.mined, f"{name} is in blocks {self.mined[name]} and {number}"
            assert status == "True" or status == "1", fact
            sender, nonce, to, wei = self.sent[name]
            assert nonce == self.nonces[sender], f"{name}: nonce {nonce}, expected {self.nonces[sender]}"
            self.nonces[sender] += 1
            self.received[to] += wei
            self.mined[name] = number

    def hear(self, kind: str, words: list[str]) -> None:
        """A line of the load."""
        if kind == "S":
            sender, nonce, to, wei = map(int, words[1:])
            self.sent[words[0]] = (sender, nonce, to, wei)
            self.unanswered.add(words[0])
        elif kind == "A":
            self.acknowledged.add(words[0])
            self.unanswered.discard(words[0])
        elif kind == "K":
            self.moved[int(words[0])] = int(words[1])
        elif kind == "L":
            self.kept[int(words[0])] = int(words[1])


@dataclass
class Tally:
    """What was done."""

    seed: int
    kills: int = 0
    in_recovery: int = 0
    acknowledged: int = 0
    resent: int = 0
    recovery_seconds: list[float] = field(default_factory=list)
    points: dict[str, int] = field(default_factory=dict)


    def line(self) -> str:
        """For people."""
        times = sorted(self.recovery_seconds) or [0.0]
        return (
            f"kill -9 of forked nodes: seed {self.seed}, {self.kills} kills, {self.in_recovery} of them in recovery, "
            f"{self.acknowledged} acknowledged, {self.resent} sent again, {len(self.points)} named places "
            f"hit {sum(self.points.values())} times; recovery p50 {times[len(times) // 2] * 1000:.0f} ms, "
            f"p99 {times[len(times) * 99 // 100] * 1000:.0f} ms"
        )


class Ended(Exception):
    """The child is gone."""


class Slaughter:
    """One parent process and its children, one directory at a time."""

    def __init__(self, place: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.tally = Tally(seed)
        self.memory = Memory()
        self._place = place
        self._directories = 0
        self._buffer = b""
        self.last_words = ""
        self.directory = place
        self.fresh()
        environment = {**os.environ, "PYTHONPATH": str(REPO)}
        self._log = (place / "victim.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.victim"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, cwd=REPO, env=environment, bufsize=0,
        )  # fmt: skip

    def close(self) -> None:
        """End the parent process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._log.close()

    def fresh(self) -> None:
        """Go on in a new directory; the old one has passed."""
        if self._directories:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.directory = self._place / f"data-{self._directories}"
        self._directories += 1
        self.memory = Memory()

    def run(self, cycles: int, deadline: float = float("inf")) -> Tally:
        """Kill so often, or until it is this late (`time.monotonic`)."""
        target = self.tally.kills + cycles
        while self.tally.kills < target and time.monotonic() < deadline:
            if self.tally.kills and self.tally.kills % CYCLES_PER_DIRECTORY == 0:
                self.life(None)
                self.fresh()
            in_recovery = self.chance.random() < KILLED_IN_RECOVERY
            limit = RECOVERY_SECONDS if in_recovery else LIFE_SECONDS
            self.life(self.chance.uniform(0, limit), in_recovery=in_recovery)
        self.life(None)
        return self.tally

    def life(self, seconds: float | None, *, in_recovery: bool = False, failpoint: str = "") -> bool:
        """Start, check, load, kill after so long; None: once it was checked. True if it ended by itself."""
        pid = self._begin(failpoint)
        shown: list[list[str]] = []
        ready = False
        kill_at = time.monotonic() + (seconds or 0) if in_recovery else None
        killed = by_itself = False
        try:
            while True:
                kind, *words = self._line(kill_at)
                if kind == "":
                    killed = self._kill(pid)
                    kill_at = None
                elif kind == "READY":
                    self.tally.recovery_seconds.append(float(words[0]))
                elif kind == "F":
                    self.memory.judge(shown)
                    ready = True
                    if not in_recovery or seconds is None:
                        kill_at = kill_at or time.monotonic() + (seconds or 0)
                elif kind == "E":
                    raise AssertionError(" ".join(words))
                elif ready:
                    self.memory.hear(kind, words)
                else:
                    shown.append([kind, *words])
        except Ended as end:
            by_itself = not killed
            if str(end) != str(-signal.SIGKILL):
                raise AssertionError(f"the child ended with {end}, see victim.log") from end
        self.tally.kills += 1
        self.tally.in_recovery += not ready
        self.tally.acknowledged = self.tally.acknowledged + len(self.memory.acknowledged) - self._acknowledged_before
        return by_itself

    def _begin(self, failpoint: str) -> int:
        memory = self.memory
        self._acknowledged_before = len(memory.acknowledged)
        resend = sorted(memory.sent[name] for name in memory.unanswered)
        self.tally.resent += len(resend)
        known = len(memory.blocks)
        look_back = self.chance.sample(range(known), min(LOOKED_BACK, known))
        waiting = [memory.sent[name][:2] for name in memory.sent.keys() - memory.mined.keys()]
        order = Order(
            str(self.directory),
            self.chance.getrandbits(32),
            known - 1,
            look_back,
            list(map(list, resend)),
            list(map(list, waiting)),
            failpoint,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        kind, *words = self._line(None)
        self._early: list[list[str]] = []
        while kind != "PID":  # the child may speak first
            self._early.append([kind, *words])
            kind, *words = self._line(None)
        return int(words[0])

    def _kill(self, pid: int) -> bool:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def _line(self, kill_at: float | None) -> list[str]:
        """The next line's words; an empty one when it is time to kill. Raises `Ended`."""
        if kill_at is None and getattr(self, "_early", None):
            return self._early.pop(0)
        assert self._process.stdout is not None
        while b"\n" not in self._buffer:
            wait = ANSWER_SECONDS if kill_at is None else max(0.0, kill_at - time.monotonic())
            if not select.select([self._process.stdout], [], [], wait)[0]:
                assert kill_at is not None, f"no word for {ANSWER_SECONDS} s"
                return [""]
            chunk = os.read(self._process.stdout.fileno(), 65536)
            assert chunk, "the parent of the victims is gone, see victim.log"
            self._buffer += chunk
        if kill_at is not None and time.monotonic() > kill_at:
            return [""]
        line, _, self._buffer = self._buffer.partition(b"\n")
        words = line.decode().split()
        if words[0] == "X":
            raise Ended(words[1])
        return words

    # Named places

    def at(self, point: str, times: int) -> int:
        """Kill at a place so often; returns how often it was reached."""
        reached = 0
        for number in range(times):
            if point.startswith(FIRST_START):
                self.fresh()
            else:
                self.life(self.chance.uniform(0, LIFE_SECONDS))
                while not prepare(point, self.directory):
                    self.life(self.chance.uniform(0, 10 * LIFE_SECONDS))  # long enough for an export
            rare = point.startswith((*FIRST_START, *ONCE))
            hit = 1 if rare else self.chance.choice((1, 1, 2, 5))
            reached += self.life(PATIENCE_SECONDS, failpoint=f"{point}:{hit}")
            self.life(self.chance.uniform(0, LIFE_SECONDS))
            if number % 5 == 4:
                self.life(None)
        self.life(None)
        self.tally.points[point] = self.tally.points.get(point, 0) + reached
        return reached


PATIENCE_SECONDS = 4.0
"""How long a load may take to reach a place."""
FIRST_START = ("open.genesis", "open.stamp", "file.replace")
ONCE = (
    "open.", "wal.recovery", "wal.cut", "recovery", "export.restore", "index.migrate", "ballast", "wal.prune",
    "migrate.",
)  # fmt: skip


def prepare(point: str, directory: Path) -> bool:
    """Bring a directory into the state in which a place is reached; False: it has to live on a little first."""
    if point.startswith("wal.cut"):
        return tear_tail(directory)
    if point.startswith("wal.prune"):
        try:
            return bool(prune_data_directory(directory, fresh=True, dry_run=True).paths)
        except PruneRefused:
            return False
    if point.startswith("migrate."):
        return (directory / layout.STATE).exists()
    if point.startswith("export.restore") and not list((directory / layout.EXPORTS).glob("*.snap")):
        return False
    if point.startswith(("open.quarantined", "export.restore", "recovery.block")):
        (directory / layout.SUSPECT).write_text("a test said so")
        if point.startswith("recovery.block"):
            fs = RealFs(directory)
            for export in exports(fs):
                if export != founding_export(fs):
                    fs.unlink(export)
    elif point.startswith("index.migrate"):
        for path in directory.glob("index.sqlite*"):
            path.unlink()
    elif point.startswith("open.index"):
        (directory / layout.INDEX).write_bytes(b"not a database" * 1000)
        for path in directory.glob("index.sqlite-*"):
            path.unlink()
    elif point.startswith("ballast"):
        (directory / layout.BALLAST).unlink(missing_ok=True)
    return True


def tear_tail(directory: Path) -> bool:
    """What a power loss leaves of an unsynced group: bytes that are not a record. False if the segment is full."""
    records = [finding for finding in inspect(RealFs(directory), layout.WAL) if finding.record is not None]
    if not records:
        return False
    last = records[-1]
    assert last.record is not None
    end = last.offset + (40 + len(last.record.payload) + 7) // 8 * 8
    with (directory / last.path).open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if end + 200 > size - 4096:
            return False
        file.seek(end)
        file.write(b"\xee" * 100)
        return True


def failpoints() -> list[str]:
    """Every named place in the sources."""
    reached: list[str] = []
    created: set[str] = set()
    for package in ("storage", "node"):
        for path in sorted((REPO / package).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text())):
                match call:
                    case ast.Call(func=ast.Name("reach"), args=[ast.Constant(str(place))]):
                        reached.append(place)
                    case ast.Call(func=ast.Name("create_durably" | "write_atomically"), args=[_, _, _]):
                        created.add("file.replace")
                    case ast.Call(
                        func=ast.Name("create_durably" | "write_atomically"), args=[_, _, _, ast.Constant(str(place))]
                    ):
                        created.add(place)
    return reached + [f"{place}.{step}" for place in created for step in STEPS]
