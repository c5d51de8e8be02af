"""``zvmd backup`` and ``zvmd restore``: copy a chain, also while it runs, and restore it up to any log record."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path

import click

from node.auth.private import for_owner_only
from node.cli.output import say
from node.ops.acts import recorded_act
from storage.backup import restore_backup, write_backup
from zvmd.endpoint import data_directory


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(file_okay=False, exists=True), help="Where the chain is kept.")
def backup(directory: Path, data_dir: str | None) -> None:
    """Copy the chain to a new DIRECTORY. A node may be running; only the disk traffic of the copy slows it."""
    source = Path(data_directory(data_dir))
    with for_owner_only(), recorded_act("backup", source, partial(say, err=True), into=directory.absolute()):
        manifest = write_backup(source, directory)
    say(f"backup {directory}: {len(manifest.digests)} files, log up to LSN {manifest.lsn}")


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), required=True, help="A new directory.")
@click.option("--until", type=click.IntRange(min=1), metavar="LSN", help="Last log record to restore.  [all]")
def restore(directory: Path, data_dir: Path, until: int | None) -> None:
    """Make a new data directory from the backup in DIRECTORY, whole or up to a log record."""
    target, source = data_dir.expanduser().absolute(), directory.absolute()
    with for_owner_only(), recorded_act("restore", target, partial(say, err=True), source=source, until=until):
        lsn = restore_backup(directory, target, version("zvmd"), until)
    say(f"restored {data_dir}: log up to LSN {lsn}; `zvmd start --data-dir {data_dir}` replays and checks it")
