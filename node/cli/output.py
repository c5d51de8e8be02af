"""Prints everything that commands print: values and receipts for people, and JSON.

Other files of this package do not print: text from a chain or a file reaches a terminal through `printable` only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from zvmd.printable import printable

if TYPE_CHECKING:
    from rich.console import RenderableType


def say(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print text of one line or several to standard output, or to standard error."""
    click.echo(printable(str(text), lines=True), err=err, nl=nl)


def say_row(name: str, text: str, colour: str | None = None) -> None:
    """Print a name and its value; the name is coloured on a terminal."""
    click.echo(f"{click.style(name.ljust(12), fg=colour, bold=colour is None)}{printable(text)}")


def show(content: RenderableType) -> None:
    """Print a table or panel of rich."""
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment

    class PlainConsole(Console):
        """Escapes text that could control the terminal, whatever its source."""

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                if segment.control:
                    yield segment
                else:
                    yield Segment(printable(segment.text, lines=True), segment.style)

    PlainConsole(markup=False, emoji=False, highlight=False).print(content)


def say_error(code: str, message: str, hint: str) -> None:
    """Print an error and its hint on standard error; further lines of a message are indented to tell them apart."""
    indented = message.replace("\n", "\n  ")
    say(f"error[{code}]: {indented}", err=True)
    if hint:
        say(f"hint: {hint}", err=True)


def print_json(value: Any) -> None:
    """Indented JSON: complete, and ASCII."""
    click.echo(json.dumps(value, indent=2))


def print_json_line(value: Any) -> None:
    """JSON on one line: complete, and ASCII."""
    click.echo(json.dumps(value))


def failed(receipt: dict[str, Any]) -> bool:
    """Whether the transaction failed and was reverted."""
    return receipt.get("status") == "0x0"


def print_receipt(receipt: dict[str, Any], as_json: bool, failure: tuple[str, bytes] | None = None) -> None:
    """Print a receipt in short or as JSON. A failed transaction prints its reason and data and exits with status 1."""
    if as_json:
        print_json(receipt)
    else:
        lines = [
            ("status", "failed" if failed(receipt) else "success"),
            ("transaction", receipt["transactionHash"]),
            ("block", int(receipt["blockNumber"], 16)),
            ("gas used", int(receipt["gasUsed"], 16)),
            ("logs", len(receipt["logs"])),
        ]
        if receipt.get("contractAddress"):
            lines.insert(1, ("contract", receipt["contractAddress"]))
        for name, value in lines:
            say(f"{name:12} {value}")
    if failure is not None:
        reason, data = failure
        say(f"reason       {reason}", err=as_json)
        if data:
            say(f"data         0x{data.hex()}", err=as_json)
    if failed(receipt):
        raise SystemExit(1)
