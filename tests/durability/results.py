"""What campaigns did: kept as parts, added up, and written as the table of docs/durability.md."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.paths import REPO

RESULTS = REPO / "docs" / "durability.json"
PAGE = REPO / "docs" / "durability.md"
TIMES = REPO / "docs" / "durability-times.md"
TIMES_KEPT = 400
"""Of each kind, spread over all that were measured."""


@dataclass
class Line:
    """What one campaign did."""

    name: str
    seed: int
    asked: int = 0
    """What ``--count`` was."""
    count: int = 0
    """What was done: as many or a few more, or what that many repetitions led to."""
    seconds: float = 0.0
    failures: int = 0
    failure: str = ""
    numbers: dict[str, int] = field(default_factory=dict)
    """What else was counted; adds up over parts."""
    most: dict[str, int] = field(default_factory=dict)
    """What is as large as its largest part."""
    times: dict[str, list[float]] = field(default_factory=dict)
    """Milliseconds, measured many times."""
    commit: str = ""
    """The last one that changed the sources that were run; with a + if they were changed since."""
    seeds: list[int] = field(default_factory=list)
    """Of the parts, if there were several."""

    def add(self, what: str, number: int = 1) -> None:
        """Count something."""
        self.numbers[what] = self.numbers.get(what, 0) + number

    def took(self, what: str, seconds: float) -> None:
        """Note a time."""
        self.times.setdefault(what, []).append(round(seconds * 1000, 1))


@dataclass
class Budget:
    """How much of a campaign to do."""

    count: int
    deadline: float

    def left(self, done: int) -> bool:
        """Whether to go on."""
        return done < self.count and time.monotonic() < self.deadline


Campaign = Callable[[Line, Budget, Path], None]


class OtherCommit(Exception):
    """A part was made of other sources than these."""


def commit() -> str:
    """The last one that changed the product; with a + if there are changes in no commit."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=REPO, capture_output=True, text=True, check=False).stdout.strip()

    sources = ("chain", "vm", "storage", "debugger", "node", "zvmd", "migrations")
    return git("log", "-1", "--format=%h", "--", *sources) + "+" * bool(git("status", "--porcelain", "--", *sources))


def write_part(directory: Path, line: Line) -> Path:
    """Keep a part for `collect`."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{line.name}-{line.seed}-{line.commit}.json"
    path.write_text(json.dumps(asdict(line)))
    return path


def collect(directory: Path, *, any_commit: bool = False) -> list[Line]:
    """The parts of every line in a directory, added up.

    Raises `OtherCommit` for parts of other sources, unless told that their commits shall stand in the row.
    """
    parts: dict[str, list[Line]] = {}
    here = commit()
    for path in sorted(directory.glob("*.json")):
        line = Line(**json.loads(path.read_text()))
        if line.commit != here and not any_commit:
            raise OtherCommit(f"{path.name} was made of {line.commit}, this is {here}; see --any-commit")
        parts.setdefault(line.name, []).append(line)
    return [merge(some) for some in parts.values()]


def merge(parts: list[Line]) -> Line:
    """One line of several with different seeds."""
    parts.sort(key=lambda part: part.seed)
    whole = Line(parts[0].name, parts[0].seed, max(part.asked for part in parts))
    for part in parts:
        whole.count += part.count
        whole.seconds += part.seconds
        whole.failures += part.failures
        whole.failure = whole.failure or part.failure
        for what, number in part.numbers.items():
            whole.add(what, number)
        for what, number in part.most.items():
            whole.most[what] = max(number, whole.most.get(what, 0))
        for what, times in part.times.items():
            whole.times.setdefault(what, []).extend(times)
    whole.commit = ", ".join(dict.fromkeys(part.commit for part in parts))
    whole.seeds = [seed for part in parts for seed in part.seeds or [part.seed]]
    return whole


def keep(line: Line) -> None:
    """Write the line down if it says more than the one before, or something worse."""
    known = stored()
    before = known.get(line.name)
    if before is None or line.failures or before.failures or line.count >= before.count:
        known[line.name] = line
        content = {name: asdict(one) for name, one in sorted(known.items())}
        for one in content.values():
            one["times"] = {what: thinned(times) for what, times in one["times"].items()}
        RESULTS.write_text(json.dumps(content) .replace('}, "', '},\n"') + "\n")


def thinned(times: list[float]) -> list[float]:
    """Every so many, with both ends."""
    times = sorted(times)
    if len(times) <= TIMES_KEPT:
        return times
    return [times[round(at * (len(times) - 1) / (TIMES_KEPT - 1))] for at in range(TIMES_KEPT)]


def stored() -> dict[str, Line]:
    """What was written down."""
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return {name: Line(**fields) for name, fields in known.items()}


def more(line: Line) -> str:
    """The numbers beside the count."""
    said = [f"{number:,} {what}" for what, number in line.numbers.items()]
    said += [f"{number:,} {what}" for what, number in line.most.items()]
    for what, times in line.times.items():
        ordered = sorted(times)
        p50, p99 = ordered[len(ordered) // 2], ordered[-1 - len(ordered) // 100]
        said.append(f"{what} p50 {p50:,.0f} ms, p99 {p99:,.0f} ms, slowest {ordered[-1]:,.0f} ms")
    return "; ".join(said)


def repeat(line: Line) -> str:
    """The command that does the line again."""
    command = f"python -m tests.durability.campaign {line.name} --seed {line.seed}"
    if len(line.seeds) < 2:
        return f"`{command} --count {line.asked}`"
    return f"`{command} --count {line.asked}`, and the other seeds likewise"


def spans(seeds: list[int]) -> str:
    """Numbers in ascending order, told by where they run on.

    >>> spans([1, 2, 3, 11, 21, 22])
    '1-3, 11, 21-22'
    """
    begins = [seed for seed in seeds if seed - 1 not in seeds]
    ends = [seed for seed in seeds if seed + 1 not in seeds]
    return ", ".join(str(begin) if begin == end else f"{begin}-{end}" for begin, end in zip(begins, ends, strict=True))


def page(titles: dict[str, str], totals: Iterable[tuple[str, tuple[str, ...]]]) -> str:
    """The table, in the order of the titles."""
    known = stored()
    rows = [
        "# Durability, measured",
        "",
        "Written by `make durability` (`python -m tests.durability.campaign`); the largest run of each line so far.",
        "A failure would stand here until a later run of the line has none. Crashed machines are counted once each.",
        "",
        "| what | done | failures | seed | seconds | commit | repeat with |",
        "|---|---:|---:|---:|---:|---|---|",
    ]
    for name, title in titles.items():
        line = known.get(name)
        if line is None:
            continue
        beside = f"<br>{more(line)}" if more(line) else ""
        beside += f"<br>**{line.failure}**" if line.failures else ""
        seeds = spans(line.seeds or [line.seed])
        numbers = f"{line.count:,} | {line.failures} | {seeds} | {line.seconds:.0f} | {line.commit}"
        rows.append(f"| {title}{beside} | {numbers} | {repeat(line)} |")
    sums = [f"{sum(known[name].count for name in names if name in known):,} {what}" for what, names in totals]
    rows += ["", f"Together: {', '.join(sums)}.", ""]
    return "\n".join(rows) + ("\n" + TIMES.read_text() if TIMES.exists() else "")
