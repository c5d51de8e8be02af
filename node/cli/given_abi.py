"""``--abi`` of commands that call contracts: an ABI, a compiler's JSON, or a folder of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from node.transcript.abis import Abis, abi_entries, contract_of
from node.transcript.artifacts import Artifacts
from zvmd.abi import Signature, bad_input, types_of_abi

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


class GivenAbi(NamedTuple):
    """What ``--abi`` gave, besides the common functions and errors."""

    abis: Abis
    functions: tuple[Signature, ...] = ()
    """Functions of the one contract; empty for a folder."""

    def function(self, name: str, count: int) -> Signature:
        """The function of a bare name that takes so many arguments. Raises `ZvmdError`."""
        named = [function for function in self.functions if function.name == name]
        fitting = [function for function in named if len(function.inputs) == count]
        if len(fitting) == 1:
            return fitting[0]
        known = ", ".join(sorted(function.canonical for function in named or self.functions)[:20])
        problem = "several functions" if fitting else "no function"
        hint = f"there are: {known}" if known else "give --abi FILE, or a signature like 'balanceOf(address)(uint256)'"
        raise bad_input(f"{problem} {name!r} with {count} arguments in the ABI", hint)


def abi_option(command: CommandT) -> CommandT:
    """Click option ``--abi``."""
    return click.option(
        "--abi",
        type=click.Path(exists=True),
        help="The ABI, a compiler's JSON, or a folder of them: names errors, and lets SIGNATURE be just a name.",
    )(command)


def read_abi(path: str | None) -> GivenAbi:
    """The ABI that the option names. Raises `ZvmdError`."""
    abis = Abis()
    if path is None:
        return GivenAbi(abis)
    if Path(path).is_dir():
        Artifacts(None, (path,)).look(abis)
        return GivenAbi(abis)
    try:
        entries = abi_entries(json.loads(Path(path).read_bytes()))
        abis.add(contract_of(Path(path).stem, entries))
    except (OSError, ValueError, RecursionError) as error:
        raise bad_input(f"cannot use the ABI in {path}: {error}", "give the JSON that the compiler wrote") from None
    functions = [entry for entry in entries if entry.get("type", "function") == "function"]
    return GivenAbi(abis, tuple(map(_signature, functions)))


def _signature(entry: dict[str, Any]) -> Signature:
    inputs, outputs = types_of_abi(entry.get("inputs", [])), types_of_abi(entry.get("outputs", []))
    return Signature(str(entry["name"]), inputs, outputs)
