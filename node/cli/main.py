"""The ``zvmd`` command: a table of commands, each imported only when it is called."""

from __future__ import annotations

import difflib
import errno
import importlib
import io
import os
import sys
import traceback
from typing import NamedTuple

import click

from chain.errors import EXIT_FAILED, EXIT_FULL, ZvmdError
from node.cli.output import say, say_error
from node.ops.lines import hold_standard_descriptors
from zvmd import errors as sdk_errors

NO_THREAD = "can't start new thread"
"""What Python's RuntimeError says when the system refuses a thread."""


class CommandRow(NamedTuple):
    """The module of a command and the line that ``zvmd --help`` shows for it."""

    module: str
    attribute: str
    summary: str


COMMANDS: dict[str, CommandRow] = {
    "start": CommandRow("node.cli.start", "start", "Run a node in the foreground."),
    "deploy": CommandRow("node.cli.deploy", "deploy", "Create a contract."),
    "call": CommandRow("node.cli.call", "call", "Call a contract without sending a transaction."),
    "send": CommandRow("node.cli.send", "send", "Send a transaction."),
    "fate": CommandRow("node.cli.fate", "fate", "Show what happened to a transaction."),
    "logs": CommandRow("node.cli.logs", "logs", "Print logs."),
    "events": CommandRow("node.cli.events", "events", "Follow new blocks or logs."),
    "console": CommandRow("node.cli.console", "console", "Print what a transaction logged with console.log."),
    "rpc": CommandRow("node.cli.rpc", "rpc", "Call any JSON-RPC method."),
    "session": CommandRow("node.cli.session", "session", "Debug programs and transactions, step by step and back."),
    "dap": CommandRow("node.cli.dap", "dap", "Serve the Debug Adapter Protocol to an editor."),
    "status": CommandRow("node.cli.status", "status", "Show what a running node is doing."),
    "wal": CommandRow("node.cli.wal", "wal", "Inspect, verify, export or prune the log on disk."),
    "verify": CommandRow("node.cli.verify", "verify", "Check a stopped node's data against an independent trie."),
    "migrate-store": CommandRow("node.cli.migrate_store", "migrate_store", "Move the state store to another engine."),
    "statetest": CommandRow("node.cli.statetest", "statetest", "Run official state test vectors."),
    "trace": CommandRow("node.cli.trace", "trace", "Run code or state tests and write EIP-3155 traces."),
    "blocktest": CommandRow("node.cli.blocktest", "blocktest", "Run official block test vectors."),
    "token": CommandRow("node.cli.token", "token", "Make, list and revoke tokens for other programs and machines."),
    "audit": CommandRow("node.cli.audit", "audit", "Show who did what needs a right."),
    "backup": CommandRow("node.cli.backup", "backup", "Copy the chain, also while a node runs."),
    "restore": CommandRow("node.cli.backup", "restore", "Make a data directory from a backup, up to any log record."),
    "certificate": CommandRow("node.cli.certificate", "certificate", "Issue certificates for clients of HTTPS."),
    "config": CommandRow("node.cli.config", "config", "Show the settings and their origins; write a zvmd.toml."),
    "systemd": CommandRow("node.cli.systemd", "systemd", "Print or install the systemd units."),
}


class CommandTable(click.Group):
    """A click group that imports a command's module when the command is used, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        row = COMMANDS.get(cmd_name)
        if row is None:
            return None
        command = getattr(importlib.import_module(row.module), row.attribute)
        assert isinstance(command, click.Command), f"{row.module}.{row.attribute} is not a click command"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Click's lookup, with the nearest name in its error."""
        if args[0] not in COMMANDS and (near := difflib.get_close_matches(args[0], COMMANDS, n=1)):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Click's parser; its error for an option of a command placed before the command says where options belong."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            ctx.fail(f"{error.format_message()} Options follow the command: zvmd COMMAND [OPTIONS].")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].summary) for name in self.list_commands(ctx)])


@click.group(cls=CommandTable, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="zvmd", prog_name="zvmd")
def cli() -> None:
    """A chain node that cannot forget."""


def main() -> None:
    """Run the command line; an expected error becomes a line, a hint and its own exit code."""
    hold_standard_descriptors()
    try:
        status = cli.main(prog_name="zvmd", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        say(shown.getvalue(), err=True, nl=False)
        sys.exit(error.exit_code)
    except click.Abort:
        say("Aborted!", err=True)
        sys.exit(EXIT_FAILED)
    except (ZvmdError, sdk_errors.ZvmdError) as error:
        message = error.message if isinstance(error, sdk_errors.ZvmdError) else str(error)
        say_error(error.code, message, error.hint)
        sys.exit(error.exit_code if isinstance(error, ZvmdError) else EXIT_FAILED)
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python writes what is left at its end
        sys.exit(EXIT_FAILED)
    except OSError as error:
        say_error("os", str(error), "check that this path or address exists and that this user may use it")
        sys.exit(EXIT_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else EXIT_FAILED)
    except Exception as error:  # a bug; what was being read may be in its message
        if str(error) == NO_THREAD:
            say_error("os", NO_THREAD, "allow more: ulimit -u, TasksMax= of the unit, or the container's limit of pids")
            sys.exit(EXIT_FAILED)
        say(traceback.format_exc(), err=True, nl=False)
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
