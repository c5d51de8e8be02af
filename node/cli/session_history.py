"""``zvmd session edit|branches|trace|calls``: lines of history, and the run as a whole."""

from __future__ import annotations

from typing import Any

import click

from node.cli.link import link_options
from node.cli.output import print_json, say
from node.cli.session_command import ask, json_option, print_answer, session_argument
from zvmd.printable import printable

TRACE_PAGE = 1_000
"""Lines requested at a time."""


@click.command()
@session_argument
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
    print_answer(ask("edit", session_id, {"kind": kind, **wanted}, http=http, url=url, data_dir=data_dir), as_json)


@click.command()
@session_argument
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


@click.command()
@session_argument
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


@click.command()
@session_argument
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
