"""Options and report of ``zvmd statetest``, ``blocktest`` and ``trace``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from chain.errors import ZvmdError
from node.cli.output import print_json_line, say, say_error
from node.conformance.running import CaseResult, MachineChoice
from node.machine.object_cache import FileObjectCache
from vm.evm.jit.metrics import Metrics

_SHOWN_FAILURES = 20
CACHE_BYTES_MAX = 1 << 30
"""Compiled objects of vectors kept between runs; the oldest are removed first."""


def default_cache() -> Path:
    """Default folder for compiled objects (XDG base directories)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zvmd" / "objects"


def check_pattern(_: click.Context, __: click.Parameter, pattern: str | None) -> str | None:
    """A click callback that refuses what is not a regular expression."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise click.BadParameter(str(error)) from None
    return pattern


DUMP_OPTION = click.option(
    "--jit-dump",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Compile what runs and write its blocks, IR and assembly there.",
)


def machine_choice(engine: str, cache: Path | None, dump: Path | None) -> MachineChoice:
    """The machine that the options ask for; ``--dump`` implies compiling."""
    return MachineChoice("interpreter" if engine == "interpreter" and dump is None else "jit", cache, dump)


def vector_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """PATHS and the options of both commands, except ``--fork``."""
    engines = click.Choice(["interpreter", "jit"])
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="Print a JSON object per case."),
        click.option(
            "--jobs", type=click.IntRange(0, 256), default=1, show_default=True, help="Processes; 0 for one per CPU."
        ),
        click.option(
            "--match",
            metavar="REGEX",
            callback=check_pattern,
            help="Only cases whose file::case[...] matches.",
        ),
        DUMP_OPTION,
        click.option(
            "--cache",
            metavar="DIR",
            type=click.Path(path_type=Path, file_okay=False),
            default=default_cache,
            show_default="~/.cache/zvmd/objects",
            help="Keep machine code there.",
        ),
        click.option("--engine", type=engines, default="interpreter", show_default=True),
        click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path)),
    ):
        command = decorate(command)
    return command


def report(
    run: Callable[[MachineChoice, Metrics], Iterator[CaseResult]], choice: MachineChoice, as_json: bool
) -> None:
    """Print the results and how many passed; exit with 1 if any failed, 2 if nothing could be run."""
    passed = failed = 0
    did = Metrics()
    try:
        for result in run(choice, did):
            passed += result.passed
            failed += not result.passed
            if as_json:
                print_json_line(msgspec.to_builtins(result.to_json()))
            elif not result.passed and failed <= _SHOWN_FAILURES:
                say(f"FAIL {result.name}: {result.error}")
    except ZvmdError as error:
        say_error(error.code, str(error), error.hint)
        sys.exit(2)
    if failed > _SHOWN_FAILURES and not as_json:
        say(f"... and {failed - _SHOWN_FAILURES} more failures; --json lists all")
    if not passed + failed:
        say("warning: nothing was selected", err=True)
    if choice.engine == "jit":
        say(describe(did), err=as_json)
    if choice.cache is not None:
        FileObjectCache(choice.cache).prune(CACHE_BYTES_MAX)
    say(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


def describe(did: Metrics) -> str:
    """What the JIT did, to show whether a run tested it or only the interpreter."""
    return (
        f"jit: {did.compiled:,} contracts compiled, {did.loaded:,} from the cache, {did.functions:,} blocks; "
        f"{did.entered:,} frames began in compiled code, {did.interpreted:,} blocks were interpreted, "
        f"{did.deoptimised:,} opcodes left to the interpreter"
    )
