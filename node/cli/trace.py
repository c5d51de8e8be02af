"""``zvmd trace``: EIP-3155 traces of a piece of code or of state tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from chain.errors import ZvmdError
from chain.types import parse_hex
from node.cli.output import say
from node.cli.vectors import DUMP_OPTION, check_pattern, machine_choice
from node.conformance.codetrace import DEFAULT_GAS, CodeCall, trace_code
from node.conformance.running import MachineChoice, Selection
from node.conformance.state_case import FORK_NAMES
from node.conformance.statetest import run_state_tests
from node.conformance.vectors import vector_files


def _hex(_: click.Context, __: click.Parameter, text: str) -> bytes:
    try:
        return parse_hex(text if text.startswith("0x") else "0x" + text)
    except ZvmdError as error:
        raise click.BadParameter(f"neither a file nor hex: {error}") from None


@click.command()
@click.argument("subject", metavar="CODE|FILE")
@click.option(
    "--fork", type=click.Choice(list(FORK_NAMES), case_sensitive=False), help="Default for code: Osaka."
)
@click.option("--match", metavar="REGEX", callback=check_pattern, help="Of a file: only cases that match.")
@click.option("--calldata", default="", callback=_hex, help="Of code: hex.")
@click.option("--value", type=click.IntRange(0, 2**256 - 1), default=0, help="Of code: wei sent along.")
@click.option(
    "--gas", type=click.IntRange(0, 2**63 - 1), default=DEFAULT_GAS, show_default=True, help="Of code."
)
@click.option("--memory", is_flag=True, help="All memory in every line.")
@DUMP_OPTION
def trace(
    subject: str,
    fork: str | None,
    match: str | None,
    calldata: bytes,
    value: int,
    gas: int,
    memory: bool,
    jit_dump: Path | None,
) -> None:
    """Run CODE (hex) on an empty state, or the state tests of FILE, and write one JSON line per opcode."""
    choice = machine_choice("interpreter", None, jit_dump)
    if Path(subject).exists():
        sys.exit(0 if _trace_file(Path(subject), Selection(fork, match), memory, choice) else 1)
    code = _hex(click.get_current_context(), click.Argument(["subject"]), subject)
    name = fork or "Osaka"
    trace_code(CodeCall(code, calldata, value, gas, FORK_NAMES[name], name), _write, memory=memory, choice=choice)


def _trace_file(path: Path, selection: Selection, memory: bool, choice: MachineChoice) -> bool:
    """Whether all cases passed; those that did not are named on standard error."""
    passed = True
    files = vector_files([path])
    for result in run_state_tests(files, selection, choice=choice, trace=_write, memory=memory):
        if not result.passed:
            passed = False
            say(f"FAIL {result.name}: {result.error}", err=True)
    return passed


_write: Callable[[str], None] = say
