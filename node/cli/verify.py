"""``zvmd verify``: check all data of a stopped node against an independent implementation."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from chain.errors import EXIT_CORRUPT
from node.cli.output import say
from node.verification import Report, verify_data_directory
from zvmd.endpoint import data_directory


@click.command()
@click.option("--data-dir", type=click.Path(file_okay=False, exists=True), help="Where the chain is kept.")
def verify(data_dir: str | None) -> None:
    """Check log, blocks and state of a stopped node; every root is recomputed with the py-trie library."""
    report: Report = verify_data_directory(Path(os.path.abspath(data_directory(data_dir))))  # noqa: PTH100
    for line in report.lines:
        say(line)
    if report.problems:
        for problem in report.problems:
            say(f"PROBLEM {problem}")
        say("hint: `zvmd start` sets a damaged state store aside and rebuilds it from the log")
        sys.exit(EXIT_CORRUPT)
    say("everything agrees")
