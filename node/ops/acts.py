"""Administrative acts outside of a running node, recorded in the audit log of the data directory that they concern."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from chain.errors import ZvmdError
from node.ops.audit import note_now, without_secrets
from storage.directory import layout

ACTS: Final = {
    "token create": "zvmd_tokenCreate",
    "token revoke": "zvmd_tokenRevoke",
    "certificate client": "certificate client",
    "backup": "backup",
    "restore": "restore",
    "wal prune": "wal prune",
    "migrate-store": "migrate-store",
    "start --accept-data-loss": "start --accept-data-loss",
}
"""By command, what its records have as ``method``: that of the call by which a running node does the same, if any."""


@contextmanager
def recorded_act(command: str, directory: Path, told: Callable[[str], object], **params: Any) -> Iterator[None]:
    """Do the act of a command inside, and record with these parameters how it ended: also if it was refused.

    If the record cannot be written, the act is not undone, and ``told`` gets a line that says so. Nothing is recorded
    if the folder does not become a data directory.
    """
    outcome = "failed"
    try:
        yield
        outcome = "done"
    except ZvmdError as error:
        outcome = error.code
        raise
    except KeyboardInterrupt:
        outcome = "cancelled"
        raise
    finally:
        if (directory / layout.FORMAT).exists():
            try:
                note_act(command, directory, outcome, params)
            except OSError as error:
                told(f"the audit log has no record of this: {error}")


def note_act(command: str, directory: Path, outcome: str, params: dict[str, Any]) -> None:
    """Record an act, durably. Raises `OSError`."""
    note_now(directory, **act_record(command, outcome, params))


def act_record(command: str, outcome: str, params: dict[str, Any]) -> dict[str, Any]:
    """The record of an act on the command line of this process's user."""
    given = {name: value for name, value in params.items() if value not in (None, False, 0, "")}
    shown = without_secrets(" ".join(f"{name}={value}" for name, value in given.items()))
    who = {"caller": "local", "way": "command line", "user": os.getuid()}
    return {"event": "act", "method": ACTS[command], "params": shown, "outcome": outcome} | who
