"""``zvmd migrate-store``: give the state store of a stopped node another engine."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import click

from node.auth.private import for_owner_only
from node.cli.output import print_json, say
from node.migrating import migrate_data_directory
from node.ops.acts import recorded_act
from storage.io.kv.engines import PACKAGES
from storage.migration import Tell
from zvmd.endpoint import data_directory

PROGRESS_SECONDS = 2.0
MIB = 2**20


@click.command("migrate-store")
@click.option("--to", "engine", type=click.Choice(list(PACKAGES)), help="The engine it shall have.  [the other one]")
@click.option("--data-dir", type=click.Path(file_okay=False, exists=True), help="Where the chain is kept.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def migrate_store(engine: str | None, data_dir: str | None, as_json: bool) -> None:
    """Move the state store to another engine, LevelDB or RocksDB. The node must be stopped.

    Every pair is copied into a new store beside the old one, for which there must be room; the copy is read again, the
    state root is recomputed, and only then does the new store take the old one's place. A process that is killed
    meanwhile leaves a directory that starts with the same chain. The log is not touched.
    """
    place = Path(os.path.abspath(data_directory(data_dir)))  # noqa: PTH100
    with for_owner_only(), recorded_act("migrate-store", place, partial(say, err=True), to=engine):
        done = migrate_data_directory(place, engine, _progress())
    if done is None:
        if as_json:
            print_json({"from": engine, "engine": engine})
        else:
            say(f"the state store is {engine} already")
        return
    if as_json:
        head = done.checkpoint
        root = "0x" + head.state_root.hex() if head is not None else None
        print_json(
            {
                "from": done.was, "engine": done.engine, "pairs": done.pairs,
                "block": head.block if head is not None else None, "stateRoot": root,
                "bytesBefore": done.bytes_before, "bytesAfter": done.bytes_after,
            }
        )  # fmt: skip
        return
    say(f"state store: {done.engine}, before {done.was}; {done.pairs:,} pairs")
    if done.checkpoint is None:
        say("no checkpoint yet: the log has everything")
    else:
        say(f"block {done.checkpoint.block}, state root 0x{done.checkpoint.state_root.hex()}, recomputed")
    say(f"{done.bytes_before / MIB:.1f} MiB before, {done.bytes_after / MIB:.1f} MiB now")


def _progress() -> Tell:
    """Prints how far the copy is, now and then."""
    last = time.monotonic()

    def tell(pairs: int, size: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            say(f"copied {pairs:,} pairs, {size / MIB:.0f} MiB", err=True)

    return tell
