"""``zvmd wal``: inspect, verify and export the log on disk, also while a node runs; prune it while none does."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import click

from chain.errors import EXIT_CORRUPT, EXIT_TOO_NEW
from node.auth.private import for_owner_only
from node.cli.output import print_json_line, say
from node.ops.acts import recorded_act
from storage.blocks.delta import decode_delta
from storage.blocks.fates import decode_fates
from storage.directory import layout
from storage.errors import ExportDamaged, InvalidRecord, StorageUnreadable, StoreTooNew
from storage.export import founding_export, read_header
from storage.io.files import RealFs
from storage.preflight import looked_over
from storage.sessions.records import SESSION_TYPES, SessionPosition, SnapshotFile, decode_session, decode_template
from storage.wal import Record, RecordType, inspect
from storage.wal.bounds import read_beginning
from storage.wal.format import OPTIONAL
from storage.wal.inspect import OK, TOO_NEW
from storage.wal.records import decode_command, decode_environment, decode_genesis, decode_seal
from storage.wal.unknown import describe_unknown, is_known, type_name
from zvmd.endpoint import data_directory

DETAIL_CHARACTERS = 96


@click.group()
def wal() -> None:
    """Inspect the write-ahead log, also while a node runs; remove its oldest segments while none does."""


@wal.command("inspect")
@click.option("--data-dir", type=click.Path(file_okay=False, exists=True), help="Where the chain is kept.")
@click.option("--from-lsn", type=int, default=0, help="First record to print, 0 for all.")
@click.option("--limit", type=int, default=0, help="Most records to print, 0 for all.")
def inspect_command(data_dir: str | None, from_lsn: int, limit: int) -> None:
    """Print every segment and record: offset, LSN, type, size, meaning."""
    printed = 0
    fs = looked_over(data_directory(data_dir))
    require(fs, from_lsn)
    for finding in inspect(fs, layout.WAL):
        record = finding.record
        if record is None:
            say(f"{finding.path} {finding.offset:#010x} {finding.verdict}: {finding.detail}")
        elif record.lsn >= from_lsn and not (limit and printed >= limit):
            printed += 1
            mark = "" if finding.sound else f" {finding.verdict.upper()}"
            say(
                f"{finding.offset:#010x} lsn {record.lsn} durable {record.durable_lsn} "
                f"{type_name(record.type)} {len(record.payload)} B{mark}  {meaning(record)}"
            )


@wal.command("verify")
@click.option("--data-dir", type=click.Path(file_okay=False, exists=True), help="Where the chain is kept.")
def verify_command(data_dir: str | None) -> None:
    """Check every byte of every segment, and of the state export that a pruned log begins with.

    The exit code is 65 if anything is damaged, 67 if nothing is, but a record needs a later version of zvmd.
    """
    verdicts: Counter[str] = Counter()
    last_lsn = 0
    fs = looked_over(data_directory(data_dir))
    for finding in inspect(fs, layout.WAL):
        verdicts[finding.verdict] += 1
        if finding.record is not None and finding.sound:
            last_lsn = finding.record.lsn
        if not finding.sound or finding.verdict in ("beginning", "pruned"):
            say(f"{finding.path} {finding.offset:#x} {finding.verdict}: {finding.detail}")
    bad = sum(count for verdict, count in verdicts.items() if verdict not in OK)
    if verdicts["beginning"]:
        try:
            read_header(fs, founding_export(fs))
        except (ExportDamaged, StorageUnreadable) as error:
            say(str(error))
            bad += 1
    say(f"{verdicts['segment']} segments, {verdicts['record']} records up to LSN {last_lsn}, {bad} findings")
    if bad and bad == verdicts[TOO_NEW]:
        say(f"hint: {StoreTooNew.hint}")
        sys.exit(EXIT_TOO_NEW)
    if bad:
        say("hint: a damaged tail of a killed node is cut at the next start; anything else is refused then")
        sys.exit(EXIT_CORRUPT)


@wal.command("export")
@click.option("--data-dir", type=click.Path(file_okay=False, exists=True), help="Where the chain is kept.")
@click.option("--from-lsn", type=int, default=0, help="First record, 0 for the oldest.")
@click.option("--until", type=int, default=0, metavar="LSN", help="Last record, 0 for all.")
def export_command(data_dir: str | None, from_lsn: int, until: int) -> None:
    """Write records as lines of JSON: lsn, type, schema, whether it is optional, payload in hex.

    Stops with exit code 65 at the first damage, with 67 at a record that needs a later version of zvmd.
    """
    fs = looked_over(data_directory(data_dir))
    require(fs, from_lsn, until)
    for finding in inspect(fs, layout.WAL):
        record = finding.record
        if not finding.sound:
            say(f"{finding.path} {finding.offset:#x} {finding.verdict}: {finding.detail}", err=True)
            sys.exit(EXIT_TOO_NEW if finding.verdict == TOO_NEW else EXIT_CORRUPT)
        if record is None or record.lsn < from_lsn or (until and record.lsn > until):
            continue
        line = {
            "lsn": record.lsn,
            "type": type_name(record.type),
            "schema": record.schema,
            "optional": bool(record.flags & OPTIONAL),
            "payload": "0x" + record.payload.hex(),
        }
        print_json_line(line)


@wal.command("prune")
@click.option("--data-dir", type=click.Path(file_okay=False, exists=True), help="Where the chain is kept.")
@click.option("--dry-run", is_flag=True, help="Check everything and show what would be removed; remove nothing.")
@click.option("--export", "fresh", is_flag=True, help="First write a state export of the last checkpoint.")
@click.option("--below", type=int, default=0, metavar="LSN", help="Keep what `restore --until` needs from LSN on.")
@click.option(
    "--scratch",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Where the export is restored to be checked.  [the data directory]",
)
def prune_command(data_dir: str | None, dry_run: bool, fresh: bool, below: int, scratch: Path | None) -> None:
    """Remove the log's oldest segments, below a state export that was proven. The node must be stopped.

    Without this command the log is kept whole. What goes is gone: older moments can then be restored only from backups
    made before. The newest state export is restored into a store of its own, with as much room as `state/` takes, every
    block and value in it is checked, the state root is recomputed, and the rest of the log is read to its end: about
    a minute for each million accounts and slots, million transactions, or 4 GiB of log that stays. Segments that
    recovery, waiting transactions or snapshots of development calls need do not go.
    """
    from node.pruning import prune_data_directory  # it imports the whole node, which the other commands do not need

    place = Path(os.path.abspath(data_directory(data_dir)))  # noqa: PTH100
    noted = nullcontext() if dry_run else recorded_act(
        "wal prune", place, partial(say, err=True), export=fresh, below=below
    )
    with for_owner_only(), noted:
        pruned = prune_data_directory(place, dry_run=dry_run, fresh=fresh, below=below, scratch=scratch)
    export = pruned.export
    say(
        f"{export.path}: block {export.checkpoint.block}, LSN {export.checkpoint.lsn}, "
        f"{export.accounts} accounts and {export.slots} slots, restored and checked"
    )
    for path in pruned.paths:
        say(f"{'would remove' if dry_run else 'removed'} {path}")
    begins = "would begin" if dry_run else "begins"
    size = f"{pruned.bytes / 2**20:.1f} MiB"
    say(f"{len(pruned.paths)} segments, {size}; the log {begins} at LSN {pruned.first_lsn}")


def require(fs: RealFs, *lsns: int) -> None:
    """Raises `WalPruned` if one of these records was pruned; 0 stands for no record."""
    beginning = read_beginning(fs, layout.WAL)
    for lsn in lsns:
        if beginning is not None and lsn:
            beginning.require(lsn)


def meaning(record: Record) -> str:
    """One line of what a record says."""
    if not is_known(record):
        return f"{'skipped: ' if record.flags & OPTIONAL else ''}{describe_unknown(record)}"
    tell = MEANINGS.get(record.type)
    try:
        text = tell(record) if tell is not None else ""
    except InvalidRecord as error:
        text = str(error)
    return text if len(text) <= 2 * DETAIL_CHARACTERS else text[:DETAIL_CHARACTERS] + "..."


def _genesis(record: Record) -> str:
    document = decode_genesis(record.payload)
    return f"chain {document.get('config', {}).get('chainId')}, {len(document.get('alloc', {}))} accounts"


def _environment(record: Record) -> str:
    environment = decode_environment(record.payload)
    return f"block {environment.number} {environment.fork.name} time {environment.timestamp}"


def _seal(record: Record) -> str:
    seal = decode_seal(record.payload)
    return f"hash 0x{seal.block_hash.hex()} root 0x{seal.state_root.hex()} gas {seal.gas_used}"


def _raw(record: Record) -> str:
    return "0x" + record.payload.hex()


def _command(record: Record) -> str:
    name, arguments = decode_command(record.payload)
    return f"{name} {arguments}"


def _delta(record: Record) -> str:
    delta = decode_delta(record.payload).delta
    return f"{len(delta.accounts)} accounts, {sum(map(len, delta.storage.values()))} slots"


def _template(record: Record) -> str:
    name, content = decode_template(record.payload)
    return f"template {name!r} " + ("removed" if content is None else f"{len(content)} bytes")


def _fates(record: Record) -> str:
    return ", ".join(f"0x{known.hex()} {fate.kind}: {fate.reason}" for known, fate in decode_fates(record.payload))


def _session(record: Record) -> str:
    session, change = decode_session(record.type, record.payload)
    if change is None:
        return f"session {session} closed"
    if isinstance(change, SessionPosition):
        return f"session {session} at step {change.step} {change.halt}".rstrip()
    content = change.content
    size = f"file {content.blake2b.hex()}" if isinstance(content, SnapshotFile) else f"{len(content)} bytes"
    return f"session {session} {change.label.name!r} at step {change.place.step}, {size}"


MEANINGS: dict[int, Callable[[Record], str]] = {
    RecordType.GENESIS: _genesis,
    RecordType.BLOCK_ENV: _environment,
    RecordType.TRANSACTION: _raw,
    RecordType.POOL_ADMIT: _raw,
    RecordType.BLOCK_SEAL: _seal,
    RecordType.BLOCK_DELTA: _delta,
    RecordType.COMMAND: _command,
    RecordType.CHEAT: _command,
    RecordType.DATA_LOSS: lambda record: record.payload.decode("ascii", "replace"),
    RecordType.TEMPLATE: _template,
    RecordType.FATE: _fates,
    **dict.fromkeys(SESSION_TYPES, _session),
}
