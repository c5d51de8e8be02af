"""``zvmd statetest``: run official state tests and say how many pass."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path

import click
import msgspec

from chain.errors import ZvmdError
from node.conformance.state_case import FORK_NAMES
from node.conformance.statetest import Selection, run_state_tests
from node.conformance.vectors import vector_files

_SHOWN_FAILURES = 20


def _check_pattern(_: click.Context, __: click.Parameter, pattern: str | None) -> str | None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise click.BadParameter(str(error)) from None
    return pattern


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--engine", type=click.Choice(["interpreter", "jit"]), default="interpreter", show_default=True)
@click.option("--fork", type=click.Choice(list(FORK_NAMES), case_sensitive=False), help="Only this fork.")
@click.option(
    "--match",
    metavar="REGEX",
    callback=_check_pattern,
    help="Only subtests whose file::case[fork-dN-gN-vN] matches.",
)
@click.option("--jobs", type=click.IntRange(0, 256), default=1, show_default=True, help="0: one per CPU.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object per subtest.")
@click.option("--trace", is_flag=True, help="EIP-3155 traces on standard error.")
def statetest(
    paths: tuple[Path, ...],
    engine: str,
    fork: str | None,
    match: str | None,
    jobs: int,
    as_json: bool,
    trace: bool,
) -> None:
    """Run the state tests in PATHS: JSON files, folders, or .tar.xz archives."""
    passed = failed = 0
    try:
        files, selection = vector_files(paths), Selection(fork, match)
        write = partial(click.echo, err=True) if trace else None
        for result in run_state_tests(files, selection, engine=engine, jobs=jobs, trace=write):
            passed += result.passed
            failed += not result.passed
            if as_json:
                click.echo(msgspec.json.encode(result.to_json()))
            elif not result.passed and failed <= _SHOWN_FAILURES:
                click.echo(f"FAIL {result.name}: {result.error}")
    except ZvmdError as error:
        click.echo(f"error: {error}\nhint: {error.hint}", err=True)
        sys.exit(2)
    if failed > _SHOWN_FAILURES and not as_json:
        click.echo(f"... and {failed - _SHOWN_FAILURES} more failures; --json lists all")
    if not passed + failed:
        click.echo("warning: nothing was selected", err=True)
    click.echo(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
