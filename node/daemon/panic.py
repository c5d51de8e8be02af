"""Ends the process at once when the disk or the writer fails, and records what the next start has to know."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import structlog

from chain.errors import EXIT_PANIC, ZvmdError
from node.ops.lines import flush_standard_streams
from storage.directory.notes import note_panic, suspect
from storage.errors import FileGone, StateStoreCorrupt, StateStoreWriteFailed, StoragePanic
from storage.io.files import FileSystem
from zvmd.printable import printable

log = structlog.get_logger(__name__)

BUG_HINT = "start the node again: it recovers everything it acknowledged; please report this with the lines above"


def panic(fs: FileSystem, error: BaseException) -> None:
    """Stop at once after the writer or the committer died, before anything else can be answered.

    Always with 70: whether the directory is damaged is for the next start to say, and 65 would keep systemd from it.
    """
    if isinstance(error, StateStoreCorrupt):
        suspect(fs, str(error))
    if isinstance(error, StoragePanic) and not isinstance(error, FileGone):  # whose directory it is now, who knows
        note_panic(fs, str(error))
    trace = None if isinstance(error, ZvmdError) else error
    log.critical("panic", error=f"{type(error).__name__}: {error}", exit_code=EXIT_PANIC, exc_info=trace)
    slug, hint = (error.code, error.hint) if isinstance(error, ZvmdError) else ("node.bug", BUG_HINT)
    sys.stderr.write(f"error[{slug}]: {printable(str(error))}\nhint: {hint}\n")
    flush_standard_streams()
    os._exit(EXIT_PANIC)


def distrust(fs: FileSystem, damage: StateStoreCorrupt) -> None:
    """Note damage that a read found; the read gets an error, and the next start rebuilds the state store."""
    log.critical("the state store is damaged: restart the node, which rebuilds it", error=str(damage))
    suspect(fs, str(damage))


def or_panic(fs: FileSystem, work: Callable[[], str]) -> str:
    """Run a job on the stores. If their disk fails, the process ends: only recovery can tell what the disk holds."""
    try:
        return work()
    except (StoragePanic, StateStoreWriteFailed, StateStoreCorrupt) as error:
        panic(fs, error)
        raise
