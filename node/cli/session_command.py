"""What the commands of ``zvmd session`` share, and the command of a row that has none of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from node.cli.link import link_options, open_link
from node.cli.output import print_json, say
from node.cli.session_view import show_summary
from node.sessions.commands import COMMANDS, Argument, ArgumentKind, Command
from node.sessions.rights import SHARE_PREFIX

Params = Callable[..., Any]


class _Session(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    name = "session"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """A session's number, or a share token as it is."""
        text = str(value)
        if text.isdecimal():
            return int(text)
        if not text.startswith(SHARE_PREFIX):
            self.fail(f"{text!r} is neither a session's number nor a share token", param, ctx)
        return text


class _Json(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Any JSON value."""
        try:
            return json.loads(value)
        except ValueError:
            self.fail(f"{value!r} is not JSON", param, ctx)


SESSION = _Session()
_TYPES: dict[ArgumentKind, Any] = {
    ArgumentKind.SESSION: SESSION,
    ArgumentKind.NUMBER: int,
    ArgumentKind.TEXT: str,
    ArgumentKind.OBJECT: _Json(),
    ArgumentKind.DATA: str,
    ArgumentKind.ANY: _Json(),
}


def session_argument(command: Params) -> Params:
    """The first argument of most commands."""
    return click.argument("session_id", metavar="ID", type=SESSION)(command)


def json_option(command: Params) -> Params:
    """The link's options, and ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")(link_options(command))


def ask(name: str, *params: Any, http: bool, url: str | None, data_dir: str | None) -> Any:
    """Answer of a session command, by the name of its row."""
    with open_link(http, url, data_dir) as link:
        return link.rpc(COMMANDS[name].methods[0], *params)


def print_answer(answer: Any, as_json: bool) -> None:
    """A position as a line, a new session as its id, nothing for what was only done; anything else as JSON."""
    if as_json:
        print_json(answer)
    elif isinstance(answer, dict) and "gasLeft" in answer:
        say(show_summary(answer))
    elif isinstance(answer, dict) and answer.keys() == {"id"}:
        say(answer["id"])
    elif isinstance(answer, str | int) and not isinstance(answer, bool):
        say(answer)
    elif answer is not None and answer is not True:
        print_json(answer)


def command_of(row: Command) -> click.Command:
    """A command whose arguments are the row's, in their order; flags are options."""
    names = [f"argument_{at}" for at in range(len(row.arguments))]

    def carry_out(as_json: bool, http: bool, url: str | None, data_dir: str | None, **given: Any) -> None:
        answer = ask(row.name, *(given[name] for name in names), http=http, url=url, data_dir=data_dir)
        print_answer(answer, as_json)

    decorated: Params = json_option(carry_out)
    for name, argument in reversed(list(zip(names, row.arguments, strict=True))):
        decorated = _parameter(name, argument)(decorated)
    return click.command(row.cli_name, help=row.help)(decorated)


def _parameter(name: str, argument: Argument) -> Callable[[Params], Params]:
    if argument.kind is ArgumentKind.FLAG:
        return click.option(f"--{argument.name}/--no-{argument.name}", name, default=argument.default)
    if argument.is_required:
        return click.argument(name, metavar=argument.name.upper(), type=_TYPES[argument.kind])
    metavar = f"[{argument.name.upper()}]"
    return click.argument(
        name, metavar=metavar, type=_TYPES[argument.kind], required=False, default=argument.default
    )
