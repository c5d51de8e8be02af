"""What commands take to say what a new session is of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--code", help="Bytecode, hex."),
    click.option("--to", help="A contract of the chain."),
    click.option("--transaction", "--tx", help="Hash of a mined transaction, or a signed one."),
    click.option("--template", help="Name of a template."),
    click.option("--fork"),
    click.option("--caller"),
    click.option("--value"),
    click.option("--calldata"),
    click.option("--gas"),
    click.option("--block", help="A block's number, hash or tag: its state and environment."),
    click.option("--name"),
)


def program_options(command: CommandT) -> CommandT:
    """The options of every command that creates a session."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def request_of(template: str | None, **fields: Any) -> tuple[str, Any]:
    """The method (without ``zvmd_session_``) that creates the session, and its parameter.

    >>> request_of(None, code="0x00", block="7", fork=None)
    ('create', {'code': '0x00', 'block': '0x7'})
    """
    if template is not None:
        return "from_template", template
    program = {name: value for name, value in fields.items() if value is not None}
    if program.get("block", "").isdecimal():
        program["block"] = hex(int(program["block"]))
    return "create", program
