"""What ``zvmd statetest`` and ``zvmd blocktest`` share: options, and the report that ends in a count."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from chain.errors import ZvmdError
from node.conformance.running import CaseResult

_SHOWN_FAILURES = 20


def check_pattern(_: click.Context, __: click.Parameter, pattern: str | None) -> str | None:
    """A click callback that refuses what is no regular expression."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise click.BadParameter(str(error)) from None
    return pattern


def vector_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """PATHS and the options of both commands, but ``--fork``."""
    engines = click.Choice(["interpreter", "jit"])
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="A JSON object per case."),
        click.option(
            "--jobs", type=click.IntRange(0, 256), default=1, show_default=True, help="0: one per CPU."
        ),
        click.option(
            "--match",
            metavar="REGEX",
            callback=check_pattern,
            help="Only cases whose file::case[...] matches.",
        ),
        click.option("--engine", type=engines, default="interpreter", show_default=True),
        click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path)),
    ):
        command = decorate(command)
    return command


def report(results: Callable[[], Iterator[CaseResult]], as_json: bool) -> None:
    """Print the results and how many passed; exit with 1 if any failed, 2 if nothing could be run."""
    passed = failed = 0
    try:
        for result in results():
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
