"""One benchmark in two checkouts, in turns: whether a row became slower by more than its own spread.

    python -m benchmarks.compare OLD_CHECKOUT [--rounds 7] -- benchmarks.vm --rounds 1 --match erc20

Every round runs the benchmark once in each checkout, with that checkout's own interpreter, in alternating order. A row
is the text of a printed line with its numbers taken out; a column is the place of a number in it. The table shows, for
each, the medians, their ratio (new / old), and the spread of the old rounds (largest / smallest). Which direction is
better depends on the row: the reader knows whether it is a time or a rate.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

NUMBER = re.compile(r"(?<![\w.])\d[\d,_]*(?:\.\d+)?(?![\w.])")
Rows = dict[tuple[str, int], list[float]]
"""By the text of a line and the column of the number: its value in each round."""


def rows_of(output: str) -> list[tuple[tuple[str, int], float]]:
    """The numbers that a benchmark printed, each with the row and column it stands in."""
    found = []
    for line in output.splitlines():
        label = " ".join(NUMBER.sub("#", line).split())
        for column, text in enumerate(NUMBER.findall(line)):
            found.append(((label, column), float(text.replace(",", "").replace("_", ""))))
    return found


def run(checkout: Path, command: list[str]) -> str:
    """What the benchmark prints in a checkout. Raises `subprocess.CalledProcessError`, with its errors printed."""
    python = checkout / ".venv" / "bin" / "python"
    return subprocess.run([python, "-m", *command], cwd=checkout, check=True, stdout=subprocess.PIPE, text=True).stdout


def compare(old: Path, new: Path, command: list[str], rounds: int) -> tuple[Rows, Rows]:
    """The rows of both checkouts, over all rounds."""
    results: tuple[Rows, Rows] = (defaultdict(list), defaultdict(list))
    for number in range(rounds):
        turns = [(old, results[0]), (new, results[1])]
        for checkout, rows in turns if number % 2 == 0 else reversed(turns):
            for key, value in rows_of(run(checkout, command)):
                rows[key].append(value)
    return results


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What is said to this program, and behind ``--`` the benchmark with its arguments."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    own, command = _split(sys.argv[1:])
    options = parser.parse_args(own)
    if not command:
        parser.error("name the benchmark after --")
    before, after = compare(options.old, Path.cwd(), command, options.rounds)
    print(f"{'old':>12} {'new':>12} {'new/old':>8} {'spread':>7}  row, column")
    for key in sorted(before.keys() & after.keys()):
        old, new = statistics.median(before[key]), statistics.median(after[key])
        if not old or not min(before[key]):
            continue
        spread = max(before[key]) / min(before[key])
        print(f"{old:12.4g} {new:12.4g} {new / old:8.3f} {spread:7.3f}  {key[0]} [{key[1]}]")
    for key in sorted(before.keys() ^ after.keys()):
        print(f"only in one checkout: {key[0]} [{key[1]}]")


if __name__ == "__main__":
    main()
