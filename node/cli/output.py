"""Values and receipts as people read them."""

from __future__ import annotations

import json
from typing import Any

import click


def show_value(value: Any) -> str:
    """A decoded ABI value on one line.

    >>> show_value((1, b"\\x01", ["a", True]))
    '(1, 0x01, [a, true])'
    """
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "(" + ", ".join(map(show_value, value)) + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(show_value, value)) + "]"
    return str(value)


def print_json(value: Any) -> None:
    """Indented JSON."""
    click.echo(json.dumps(value, indent=2))


def print_receipt(receipt: dict[str, Any], as_json: bool) -> None:
    """A receipt in short, or whole as JSON; exit code 1 if the transaction failed."""
    good = receipt.get("status") != "0x0"
    if as_json:
        print_json(receipt)
    else:
        lines = [
            ("status", "success" if good else "failed"),
            ("transaction", receipt["transactionHash"]),
            ("block", int(receipt["blockNumber"], 16)),
            ("gas used", int(receipt["gasUsed"], 16)),
            ("logs", len(receipt["logs"])),
        ]
        if receipt.get("contractAddress"):
            lines.insert(1, ("contract", receipt["contractAddress"]))
        for name, value in lines:
            click.echo(f"{name:12} {value}")
    if not good:
        raise SystemExit(1)
