"""``zvmd blocktest``: run official block tests and print how many pass."""

from __future__ import annotations

from pathlib import Path

import click

from node.cli.vectors import machine_choice, report, vector_options
from node.conformance.blocktest import run_block_tests
from node.conformance.running import Selection
from node.conformance.vectors import vector_files


@click.command()
@vector_options
@click.option(
    "--fork", metavar="NETWORK", help="Only this network, such as Osaka or CancunToPragueAtTime15k."
)
def blocktest(
    paths: tuple[Path, ...],
    engine: str,
    cache: Path,
    jit_dump: Path | None,
    fork: str | None,
    match: str | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Run the block tests in PATHS: JSON files, folders, or .tar.xz archives."""
    report(
        lambda choice, did: run_block_tests(
            vector_files(paths), Selection(fork, match), choice=choice, jobs=jobs, did=did
        ),
        machine_choice(engine, cache, jit_dump),
        as_json,
    )
