"""``zvmd session``: the group of its commands. Rows of the table that need no special form are added from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from debugger.breakpoint_fields import breakpoint_of
from node.cli import session_history, session_sharing, session_shelf
from node.cli.link import link_options
from node.cli.output import print_json, say
from node.cli.session_command import ask, command_of, json_option, print_answer, session_argument
from node.cli.session_debug import debug
from node.cli.session_program import program_options, request_of
from node.cli.session_view import show_state
from node.sessions.commands import COMMANDS


@click.group()
def session() -> None:
    """Debug programs, contracts and past transactions, forwards and backwards."""


@session.command()
@program_options
@json_option
def new(as_json: bool, http: bool, url: str | None, data_dir: str | None, **fields: Any) -> None:
    """Create a session; prints its id."""
    answer = ask(*request_of(**fields), http=http, url=url, data_dir=data_dir)
    print_json(answer) if as_json else say(answer["id"])


@session.command()
@session_argument
@json_option
def state(session_id: int | str, as_json: bool, **link: Any) -> None:
    """Show everything at the position."""
    answer = ask("state", session_id, **link)
    if as_json:
        print_json(answer)
    else:
        show_state(answer)


@session.command("break")
@session_argument
@click.argument("kind", required=False)
@click.argument("value", required=False)
@click.argument("length", required=False)
@click.option("--address", help="Only in this account.")
@click.option("--code", help="Only in the code with this hash; an account may run several.")
@click.option("--init/--runtime", "init", default=None, help="Only in init code, or only in other code.")
@click.option("--if", "condition", metavar="EXPRESSION", help="Only where this expression holds too.")
@click.option("--remove", type=int, help="Remove the breakpoint with this id.")
@json_option
def break_(
    session_id: int | str, kind: str | None, value: str | None, length: str | None, address: str | None,
    code: str | None, init: bool | None, condition: str | None, remove: int | None, as_json: bool, **link: Any,
) -> None:  # fmt: skip
    """Set a breakpoint of a KIND: pc, line, opcode, slot_write, slot_read, memory_write, memory_read, log, depth, call,
    revert, gas, expression.

    A kind of memory takes an offset and a LENGTH in bytes (32).

    Without KIND, list them.
    """
    if remove is not None:
        ask("breakpoint_remove", session_id, remove, **link)
    elif kind is None:
        print_json(ask("breakpoint_list", session_id, **link))
    else:
        point = breakpoint_of(kind, value, address, length, code=code, init=init, condition=condition)
        answer = ask("breakpoint_add", session_id, point, **link)
        print_json(answer) if as_json else say(answer["id"])


@session.command()
@session_argument
@click.argument("saved", type=int, required=False)
@click.option("--code", help="Bytecode, hex: debug it instead of the session's program.")
@json_option
def load(session_id: int | str, saved: int | None, code: str | None, as_json: bool, **link: Any) -> None:
    """Restore the session from the SAVED copy, or load other bytecode into it."""
    if (saved is None) == (code is None):
        raise click.UsageError("give either SAVED or --code")
    name, argument = ("restore", saved) if code is None else ("load", code)
    print_answer(ask(name, session_id, argument, **link), as_json)


@session.command()
@session_argument
@click.option("--name")
@click.option("--tag", "tags", multiple=True, help="The new tags, replacing all old ones; may be given several times.")
@link_options
def rename(session_id: int | str, name: str | None, tags: tuple[str, ...], **link: Any) -> None:
    """Set the session's name or tags."""
    ask("rename", session_id, name, list(tags) or None, **link)


@session.command()
@session_argument
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--sign", is_flag=True, help="Sign it with the node's key.")
@link_options
def export(session_id: int | str, file: Path, sign: bool, **link: Any) -> None:
    """Write the session to a FILE that any zvmd can import."""
    content = bytes.fromhex(ask("export", session_id, None, sign, **link)[2:])
    file.write_bytes(content)
    say(f"{len(content)} bytes")


@session.command("import")
@click.argument("file", type=click.Path(dir_okay=False, exists=True, path_type=Path))
@link_options
def import_(file: Path, **link: Any) -> None:
    """Create a session from an exported FILE; prints its id, and on standard error the key that signed the file."""
    answer = ask("import", "0x" + file.read_bytes().hex(), **link)
    say(f"signed by {answer['signedBy']}" if answer["signedBy"] else "not signed", err=True)
    say(answer["id"])


@session.command()
@click.argument("left", type=int)
@click.argument("right", type=int)
@click.option("--ignoring-gas", is_flag=True)
@json_option
def diff(left: int, right: int, ignoring_gas: bool, as_json: bool, **link: Any) -> None:
    """Find the first step at which two runs differ; exit status 1 if they do."""
    answer = ask("compare", left, right, {"ignoringGas": ignoring_gas}, **link)
    found = answer["divergence"]
    if as_json:
        print_json(answer)
    elif answer["isEqual"]:
        say(f"equal for {answer['steps']} steps")
    else:
        say(f"step {found['step']}: {', '.join(found['fields'])} differ")
        print_json({"left": found["left"], "right": found["right"], "notes": found["notes"]})
    if not answer["isEqual"]:
        raise SystemExit(1)


@session.command("state-diff")
@session_argument
@click.argument("step", type=int)
@click.argument("other_step", type=int)
@click.option("--other", type=int, help="OTHER_STEP is a step of this session.")
@link_options
def state_diff(session_id: int | str, step: int, other_step: int, other: int | None, **link: Any) -> None:
    """Show what differs between two positions: accounts, storage, stack, memory."""
    print_json(ask("state_diff", session_id, step, other_step, other, **link))


for _command in (
    debug, session_history.edit, session_history.branches, session_history.trace, session_history.calls,
    session_sharing.share, session_sharing.drive, session_sharing.release, session_sharing.watch,
    session_shelf.list_, session_shelf.pin, session_shelf.template,
):  # fmt: skip
    session.add_command(_command)
for _row in COMMANDS.values():
    if _row.cli_name and _row.cli_name.split()[0] not in session.commands:
        session.add_command(command_of(_row))
