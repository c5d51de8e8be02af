"""What is done to a data directory on the command line, without a node, is in its audit log."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from chain.errors import ZvmdError
from node.cli.main import cli
from node.ops.acts import ACTS, recorded_act
from node.ops.audit import AUDIT_FILE, read_audit
from storage.directory import layout
from tests.commands import run_command
from tests.daemon import Daemon

NO_ACTS = {
    "audit", "blocktest", "call", "config init", "config show", "console", "dap", "deploy", "events", "fate", "logs",
    "rpc", "send", "start", "statetest", "status", "systemd install", "systemd print", "token list", "trace", "verify",
    "wal export", "wal inspect", "wal verify",
}  # fmt: skip
"""Commands that change nothing in a data directory without its node, but for `start` with the option in `ACTS`."""


def leaves(command: click.Command, name: str = "") -> set[str]:
    if not isinstance(command, click.Group):
        return {name}
    context = click.Context(command)
    found = [(each, command.get_command(context, each)) for each in command.list_commands(context)]
    return set().union(*(leaves(sub, f"{name} {each}".strip()) for each, sub in found if sub is not None))


def test_each_command_is_an_act_or_none() -> None:
    commands = {name for name in leaves(cli) if not name.startswith("session")}
    assert {name.partition(" --")[0] for name in ACTS} - {"start"} | NO_ACTS == commands


def done(place: Path, *arguments: str) -> bool:
    """Whether a command on a data directory succeeds, in this process."""
    try:
        cli.main([*arguments, "--data-dir", str(place)], standalone_mode=False)
    except (ZvmdError, SystemExit):
        return False
    return True


def records(place: Path) -> list[tuple[str, str, str]]:
    found = read_audit(place, 100)
    assert {(each["caller"], each["way"], each["user"]) for each in found} == {("local", "command line", os.getuid())}
    return [(each["method"], each["params"], each["outcome"]) for each in found]


def test_commands_without_a_node_are_recorded(tmp_path: Path) -> None:
    place, copy, other = tmp_path / "data", tmp_path / "copy", tmp_path / "other"
    with Daemon(place) as daemon:
        daemon.rpc().call("evm_mine")
        assert done(place, "backup", str(copy))
        assert not done(place, "wal", "prune"), "a node uses it"
        daemon.stop()
    for command in (
        ("migrate-store", "--to", "leveldb"), ("wal", "prune", "--export"), ("token", "list"), ("wal", "verify"),
        ("certificate", "client", "laptop", "--out", str(tmp_path)), ("token", "create", "ci", "--scope", "read"),
    ):  # fmt: skip
        assert done(place, *command), command
    done(place, "wal", "prune", "--dry-run")
    assert not done(place, "token", "revoke", "nobody")
    assert done(place, "token", "revoke", "ci")
    assert records(place) == [
        ("backup", f"into={copy}", "done"),
        ("wal prune", "", "storage.locked"),
        ("migrate-store", "to=leveldb", "done"),
        ("wal prune", "export=True", "done"),
        ("certificate client", "name=laptop days=397", "done"),
        ("zvmd_tokenCreate", 'given=["ci", ["read"], {}]', "done"),
        ("zvmd_tokenRevoke", 'given=["nobody"]', "auth.unknown_token"),
        ("zvmd_tokenRevoke", 'given=["ci"]', "done"),
    ]
    assert done(other, "restore", str(copy))
    assert not done(other, "restore", str(copy)), "it is not empty any more"
    said = [outcome for method, params, outcome in records(other) if (method, params) == ("restore", f"source={copy}")]
    assert said == ["done", "storage.unusable"]
    assert (other / AUDIT_FILE).stat().st_mode & 0o777 == 0o600
    shown = run_command("audit", "--data-dir", str(place))
    assert f"local  (command line)  backup into={copy}  -> done" in shown.stdout, shown.stderr


def test_an_act_stands_without_its_record(tmp_path: Path) -> None:
    (tmp_path / layout.FORMAT).touch()
    (tmp_path / AUDIT_FILE).mkdir()
    told: list[object] = []
    with recorded_act("backup", tmp_path, told.append):
        pass
    assert "the audit log has no record of this" in str(told)


def test_what_is_no_data_directory_gets_no_audit_log(tmp_path: Path) -> None:
    with recorded_act("backup", tmp_path, print):
        pass
    assert not list(tmp_path.iterdir())


def test_how_an_act_ended(tmp_path: Path) -> None:
    (tmp_path / layout.FORMAT).touch()
    for error in (KeyboardInterrupt, RuntimeError):
        with pytest.raises(error), recorded_act("wal prune", tmp_path, print, below=7, export=False):
            raise error
    shown = [(record["params"], record["outcome"]) for record in read_audit(tmp_path, 9)]
    assert shown == [("below=7", "cancelled"), ("below=7", "failed")]
