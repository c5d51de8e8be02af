"""``zvmd session edit|branches|checkout|trace|calls|pause``: edits on branches, and the run as a whole."""

from __future__ import annotations

from typing import Any

import click

import node.cli.session_sharing  # noqa: F401 - adds its commands to the group
from node.cli.link import link_options
from node.cli.output import print_json, say
from node.cli.session import ask, json_option, print_where, session
from node.cli.session_program import SESSION
from zvmd.printable import printable

TRACE_PAGE = 1_000
"""Lines requested at a time."""
_id = click.argument("session_id", metavar="ID", type=SESSION)


@session.command()
@_id
@click.argument("kind")
@click.option("--index", help="Stack word from the top, memory offset, or slot.")
@click.option("--value", help="The new value.")
@click.option("--data", help="The new bytes, hex.")
@click.option("--address", help="The account, if not the running one.")
@json_option
def edit(
    session_id: int | str, kind: str, as_json: bool, http: bool, url: str | None, data_dir: str | None, **fields: Any
) -> None:
    """Change the state at the position, on a new branch.

    KIND: stack, push, pop, memory, storage, transient, calldata, gas, pc, balance.
    """
    wanted = {name: text for name, text in fields.items() if text is not None}
    for number in {"index", "value"} & set(wanted):
        wanted[number] = hex(int(wanted[number], 0))
    print_where(ask("edit", session_id, {"kind": kind, **wanted}, http=http, url=url, data_dir=data_dir), as_json)


@session.command()
@_id
@json_option
def branches(session_id: int | str, as_json: bool, **link: Any) -> None:
    """Show the branches that edits have created."""
    answer = ask("branches", session_id, **link)
    if as_json:
        print_json(answer)
        return
    for branch in answer:
        here = "*" if branch["current"] else " "
        origin = "as loaded" if branch["parent"] is None else f"from {branch['parent']} at step {branch['step']}"
        edits = ", ".join(f"{edit['kind']} at {edit['step']}" for edit in branch["edits"])
        say(f"{here} {branch['id']}  {origin}" + (f": {edits}" if edits else ""))


@session.command()
@_id
@click.argument("branch", type=int)
@click.argument("step", type=int, required=False)
@json_option
def checkout(session_id: int | str, branch: int, step: int | None, as_json: bool, **link: Any) -> None:
    """Go to a BRANCH, at a STEP or where it left its parent."""
    print_where(ask("checkout", session_id, branch, step, **link), as_json)


@session.command()
@_id
@click.option("--start", type=int, default=0, help="First step.")
@click.option("--count", type=int, help="Most lines to print (default: all).")
@click.option("--memory", is_flag=True, help="With memory.")
@link_options
def trace(session_id: int | str, start: int, count: int | None, memory: bool, **link: Any) -> None:
    """Print the run as EIP-3155 lines."""
    left, at = count, start
    while left is None or left > 0:
        page = ask("trace", session_id, at, TRACE_PAGE if left is None else min(TRACE_PAGE, left), memory, **link)
        for line in page["lines"]:
            say(line)
        if page["hasEnded"] or page["stop"] == at:
            return
        left = None if left is None else left - (page["stop"] - at)
        at = page["stop"]


@session.command()
@_id
@link_options
def pause(session_id: int | str, **link: Any) -> None:
    """Pause a running session."""
    ask("pause", session_id, **link)


@session.command()
@_id
@json_option
def calls(session_id: int | str, as_json: bool, **link: Any) -> None:
    """Show all calls and creations of the run as a tree."""
    answer = ask("call_tree", session_id, **link)
    if as_json:
        print_json(answer)
        return
    for message in answer["nodes"]:
        halt = message["halt"]["reason"] if message["halt"] else "goes on"
        indent = "  " * (message["depth"] - 1)
        line = f"{message['kind']} {message['address']}  step {message['firstStep']}  gas {message['gasUsed']}"
        if message["console"] is not None:
            line, halt = "console.log", printable(message["console"])
        say(f"{indent}{line}  {halt}")
    if answer["omitted"]:
        say(f"{answer['omitted']} more")
