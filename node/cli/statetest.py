"""``zvmd statetest``: run official state tests (and VM tests) and print how many pass."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from node.cli.output import say
from node.cli.vectors import machine_choice, report, vector_options
from node.conformance.running import Selection
from node.conformance.state_case import FORK_NAMES
from node.conformance.statetest import run_state_tests
from node.conformance.vectors import vector_files


@click.command()
@vector_options
@click.option("--fork", type=click.Choice(list(FORK_NAMES), case_sensitive=False), help="Only this fork.")
@click.option("--trace", is_flag=True, help="EIP-3155 traces on standard error.")
def statetest(
    paths: tuple[Path, ...],
    engine: str,
    cache: Path,
    jit_dump: Path | None,
    fork: str | None,
    match: str | None,
    jobs: int,
    as_json: bool,
    trace: bool,
) -> None:
    """Run the state tests in PATHS: JSON files, folders, or .tar.xz archives."""
    write = partial(say, err=True) if trace else None
    report(
        lambda choice, did: run_state_tests(
            vector_files(paths), Selection(fork, match), choice=choice, jobs=jobs, did=did, trace=write
        ),
        machine_choice(engine, cache, jit_dump),
        as_json,
    )
