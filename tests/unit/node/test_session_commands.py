"""The table of session commands, and all that spells one: the command line, the SDK, the debug adapter, the terminal.

A row is a command everywhere. What is written by hand beside the table is held against it here.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from node.cli.session import session as group
from node.cli.session_command import command_of
from node.dap.line import REPEATABLE
from node.dap.moves import BACKWARD, MOVES
from node.rpc.methods import load_methods
from node.rpc.registry import find_method, method_names
from node.sessions import commands
from node.sessions.commands import BY_METHOD, COMMANDS, PREFIX, Argument, ArgumentKind, Command
from node.sessions.rights import Right
from tests.paths import REPO
from zvmd.async_session import AsyncSession
from zvmd.client import Client
from zvmd.session import Session
from zvmd.sync import SyncClient

load_methods()
SESSION_FREE = {
    name for name, row in COMMANDS.items() if all(a.kind is not ArgumentKind.SESSION for a in row.arguments)
}
MODULES = sorted(
    [*(REPO / "zvmd").glob("*.py"), *(REPO / "node/dap").glob("*.py"), *(REPO / "node/tui").glob("*.py"),
     *(REPO / "node/cli").glob("session*.py")]
)  # fmt: skip


# The table


def test_rows_are_whole() -> None:
    for name, row in COMMANDS.items():
        assert row.name == name
        assert row.help.endswith(".") or row.help.endswith("}."), name
        assert isinstance(row.right, Right), name
        names = [argument.name for argument in row.arguments]
        assert len(set(names)) == len(names), name
        optional = [not argument.is_required for argument in row.arguments]
        assert optional == sorted(optional), f"{name}: what may be left out comes last"
    assert len(BY_METHOD) == sum(len(row.methods) for row in COMMANDS.values()), "no method is two commands"


def test_a_row_cannot_be_made_without_a_right() -> None:
    with pytest.raises(TypeError):
        Command("forgotten", run=len, help="It does.")  # type: ignore[call-arg]


def test_commands_that_name_no_session_are_the_owners() -> None:
    assert all(COMMANDS[name].right is Right.OWN for name in SESSION_FREE)


def test_every_row_is_an_rpc_method_with_its_rights() -> None:
    registered = {name for name in method_names() if name.startswith(PREFIX)} | set(BY_METHOD)
    assert registered == set(BY_METHOD), "a session method that is not in the table"
    for name, row in BY_METHOD.items():
        method = find_method(name)
        assert [p.name for p in method.parameters] == [a.name for a in row.arguments]
        rights = [row.right if a.kind is ArgumentKind.SESSION else None for a in row.arguments]
        assert [p.right for p in method.parameters] == rights
        assert method.session_rights == tuple((at, right) for at, right in enumerate(rights) if right is not None)


def test_reads_outside_the_dispatcher_take_no_session() -> None:
    """``zvmd_read`` runs plain functions without the dispatcher, which checks the rights."""
    for name, row in COMMANDS.items():
        assert inspect.iscoroutinefunction(row.run) or name in SESSION_FREE


# The command line


def found(path: str) -> click.Command | None:
    command: click.Command | None = group
    for word in path.split():
        assert isinstance(command, click.Group)
        command = command.commands.get(word)
    return command


def test_every_row_is_on_the_command_line_and_nothing_else() -> None:
    paths = {row.cli_name for row in COMMANDS.values() if row.cli_name}
    assert not [path for path in paths if found(path) is None]
    leaves = {
        f"{name} {inner}" if inner else name
        for name, command in group.commands.items()
        for inner in (command.commands if isinstance(command, click.Group) else ("",))
    }
    assert leaves - paths == {"debug"}
    without = {name for name, row in COMMANDS.items() if not row.cli_name}
    assert without == {"templates"} | {name for name, row in COMMANDS.items() if not row.methods[0].startswith(PREFIX)}


def test_the_command_line_reads_the_table_without_loading_the_evm() -> None:
    """Every ``zvmd session`` command would take twice as long to start."""
    heavy = "print([name for name in ('llvmlite', 'vm.evm.execution', 'storage.store') if name in sys.modules])"
    listed = subprocess.run(
        [sys.executable, "-c", f"import sys; import node.cli.session, node.dap.line; {heavy}"],
        capture_output=True, text=True, cwd=REPO, timeout=60, check=True,
    )  # fmt: skip
    assert listed.stdout.strip() == "[]"


def test_a_row_without_a_command_of_its_own_gets_one() -> None:
    arguments = (
        Argument("id", ArgumentKind.SESSION),
        Argument("n", ArgumentKind.NUMBER, 1),
        Argument("deep", ArgumentKind.FLAG, False),
    )
    command = command_of(Command("look_at", Right.WATCH, len, "Look at it.", arguments))
    assert (command.name, command.help) == ("look-at", "Look at it.")
    kinds = [(type(p).__name__, p.required) for p in command.params if p.name is not None and "argument_" in p.name]
    assert kinds == [("Argument", True), ("Argument", False), ("Option", False)]


# What is written by hand


class Call(NamedTuple):
    """A place in the sources where a command is spelt."""

    where: str
    name: str
    given: int
    """Arguments beside the session."""
    is_exact: bool
    """Nothing is unpacked."""


def calls(path: Path) -> Iterator[Call]:
    """``it.call("step", 1)``, ``ask("seek", ID, 5)``, ``rpc("zvmd_session_state", ID)``, and names in other calls."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        function, first = ast.unparse(node.func), node.args[0]
        name = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
        where = f"{path.relative_to(REPO)}:{node.lineno}"
        exact = not any(isinstance(argument, ast.Starred) for argument in node.args)
        if function in ("self.call", "it.call", "session.call", "self.session.call", "self._move"):
            if name:
                yield Call(where, name, len(node.args) - 1, exact)
        elif (function == "ask" and "cli" in str(path)) or function == "_try":
            at = 1 if function == "_try" else 0
            argument = node.args[at]
            if isinstance(argument, ast.Constant):
                rest = len(node.args) - at - 1
                name = str(argument.value)
                yield Call(where, name, rest - (name not in SESSION_FREE), exact)
        elif name.startswith(PREFIX):
            name = BY_METHOD[name].name
            yield Call(where, name, len(node.args) - 1 - (name not in SESSION_FREE), exact)


CALLS = [call for path in MODULES for call in calls(path)]


def test_the_calls_are_found() -> None:
    """The test below means something: every front end spells commands, and these were seen."""
    assert len(CALLS) > 90
    for part in ("zvmd/session.py", "zvmd/async_session.py", "zvmd/shelf.py", "node/dap/", "node/tui/", "node/cli/"):
        assert sum(call.where.startswith(part) for call in CALLS) >= (2 if part.endswith("y") else 5), part


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_command_that_is_spelt_exists_and_takes_what_it_is_given(call: Call) -> None:
    assert call.name in COMMANDS, f"{call.where}: no session command {call.name}"
    arguments = COMMANDS[call.name].arguments
    own = arguments if call.name in SESSION_FREE else arguments[1:]
    assert call.given <= len(own), call.where
    if call.is_exact:
        assert all(not argument.is_required for argument in own[call.given :]), call.where


def test_the_debug_adapter_moves_and_repeats_by_the_table() -> None:
    assert {COMMANDS[name].right for name in MOVES.values()} == {Right.DRIVE}
    assert set(MOVES.values()) >= BACKWARD
    for method in REPEATABLE:
        row = BY_METHOD[method]
        assert row.right is Right.WATCH or row.name == "pause", "asked twice, it would be done twice"


def methods(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if callable(value) and not name.startswith("_")}


@pytest.mark.parametrize(
    ("blocking", "source", "own"),
    [
        (Session, AsyncSession, {"create", "from_template", "load", "save", "export", "watch"}),
        (SyncClient, Client, {"close", "events", "pending_transactions", "watch"}),
    ],
)
def test_blocking_classes_are_made_from_those_for_event_loops(blocking: type, source: type, own: set[str]) -> None:
    made, from_ = methods(blocking), methods(source)
    assert set(made) - set(from_) <= {"watch"}, "a client with an event loop watches by itself: zvmd.Client.watch"
    assert not set(from_) - set(made)
    assert {name: value.__wrapped__ for name, value in made.items() if name not in own} == {
        name: value for name, value in from_.items() if name not in own
    }
    for name in own & set(from_):
        one, other = inspect.signature(getattr(blocking, name)), inspect.signature(getattr(source, name))
        named = [p for p in one.parameters.values() if p.kind is not p.VAR_KEYWORD]
        assert [p.replace(annotation=p.empty) for p in named] == [
            p.replace(annotation=p.empty) for p in list(other.parameters.values())[: len(named)]
        ], name


def test_what_a_command_needs_is_imported_on_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first session held the event loop for ten milliseconds, in which modules were imported."""
    threads = []

    def noted(name: str) -> Any:
        threads.append(threading.get_ident())
        return importlib.import_module(name)

    monkeypatch.setattr(commands, "import_module", noted)
    monkeypatch.setattr(commands, "_FOUND", {})
    named = {cell.cell_contents for row in COMMANDS.values() for cell in row.run.__closure__ or ()}  # type: ignore[attr-defined]
    functions = sorted(name for name in named if isinstance(name, str) and ":" in name)

    async def twice() -> None:
        for name in functions * 2:
            assert callable(await commands._function(name))

    assert functions
    asyncio.run(twice())
    assert len(threads) == len(functions)
    assert threading.get_ident() not in threads
