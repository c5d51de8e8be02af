"""``zvmd wal``: look at the log on disk without touching it, also while a node runs."""

from __future__ import annotations

import json
import sys
from collections import Counter

import click

from storage import layout
from storage.errors import EXIT_CORRUPT
from storage.fs import RealFs
from storage.wal import Finding, RecordType, inspect
from storage.wal.delta import decode_delta
from storage.wal.inspect import OK
from storage.wal.records import decode_command, decode_environment, decode_seal, decode_session
from zvmd.endpoint import data_directory

DETAIL_CHARACTERS = 96


@click.group()
def wal() -> None:
    """Look at the write-ahead log. Nothing is changed, and a node may be running."""


@wal.command("inspect")
@click.option("--data-dir", type=click.Path(file_okay=False, exists=True), help="Where the chain is kept.")
@click.option("--from-lsn", type=int, default=1, help="First record to print.")
@click.option("--limit", type=int, default=0, help="Records to print at most, 0 for all.")
def inspect_command(data_dir: str | None, from_lsn: int, limit: int) -> None:
    """Print every segment and record: offset, LSN, type, size, meaning."""
    printed = 0
    for finding in inspect(RealFs(data_directory(data_dir)), layout.WAL):
        record = finding.record
        if record is None:
            click.echo(f"{finding.path} {finding.offset:#010x} {finding.verdict}: {finding.detail}")
        elif record.lsn >= from_lsn and not (limit and printed >= limit):
            printed += 1
            mark = "" if finding.sound else f" {finding.verdict.upper()}"
            click.echo(
                f"{finding.offset:#010x} lsn {record.lsn} durable {record.durable_lsn} "
                f"{type_name(record.type)} {len(record.payload)} B{mark}  {meaning(finding)}"
            )


@wal.command("verify")
@click.option("--data-dir", type=click.Path(file_okay=False, exists=True), help="Where the chain is kept.")
def verify_command(data_dir: str | None) -> None:
    """Check every byte of every segment. Exit code 65 if anything is not as a sound log has it."""
    verdicts: Counter[str] = Counter()
    last_lsn = 0
    for finding in inspect(RealFs(data_directory(data_dir)), layout.WAL):
        verdicts[finding.verdict] += 1
        if finding.record is not None and finding.sound:
            last_lsn = finding.record.lsn
        if not finding.sound:
            click.echo(f"{finding.path} {finding.offset:#x} {finding.verdict}: {finding.detail}")
    bad = sum(count for verdict, count in verdicts.items() if verdict not in OK)
    click.echo(f"{verdicts['segment']} segments, {verdicts['record']} records up to LSN {last_lsn}, {bad} findings")
    if bad:
        click.echo("hint: a damaged tail of a killed node is cut at the next start; anything else is refused then")
        sys.exit(EXIT_CORRUPT)


@wal.command("export")
@click.option("--data-dir", type=click.Path(file_okay=False, exists=True), help="Where the chain is kept.")
@click.option("--from-lsn", type=int, default=1, help="First record.")
@click.option("--until", type=int, default=0, metavar="LSN", help="Last record, 0 for all.")
def export_command(data_dir: str | None, from_lsn: int, until: int) -> None:
    """Write records as lines of JSON: lsn, type, payload in hex. Ends with exit code 65 at the first damage."""
    for finding in inspect(RealFs(data_directory(data_dir)), layout.WAL):
        record = finding.record
        if not finding.sound:
            click.echo(f"{finding.path} {finding.offset:#x} {finding.verdict}: {finding.detail}", err=True)
            sys.exit(EXIT_CORRUPT)
        if record is None or record.lsn < from_lsn or (until and record.lsn > until):
            continue
        line = {"lsn": record.lsn, "type": type_name(record.type), "payload": "0x" + record.payload.hex()}
        click.echo(json.dumps(line))


def type_name(number: int) -> str:
    """Name of a record type, the number if unknown."""
    return RecordType(number).name if number in frozenset(RecordType) else f"type {number}"


def meaning(finding: Finding) -> str:
    """One line of what a record says."""
    record = finding.record
    assert record is not None
    text = ""
    if record.type == RecordType.BLOCK_ENV:
        environment = decode_environment(record.payload)
        text = f"block {environment.number} {environment.fork.name} time {environment.timestamp}"
    elif record.type == RecordType.BLOCK_SEAL:
        seal = decode_seal(record.payload)
        text = f"hash 0x{seal.block_hash.hex()} root 0x{seal.state_root.hex()} gas {seal.gas_used}"
    elif record.type == RecordType.COMMAND:
        name, arguments = decode_command(record.payload)
        text = f"{name} {arguments}"
    elif record.type == RecordType.SESSION:
        session, content = decode_session(record.payload)
        text = f"session {session} " + ("closed" if content is None else f"{len(content)} bytes")
    elif record.type == RecordType.BLOCK_DELTA:
        known = decode_delta(record.payload)
        text = f"{len(known.delta.accounts)} accounts, {sum(map(len, known.delta.storage.values()))} slots"
    elif record.type in (RecordType.TRANSACTION, RecordType.POOL_ADMIT):
        text = "0x" + record.payload.hex()
    return text if len(text) <= 2 * DETAIL_CHARACTERS else text[:DETAIL_CHARACTERS] + "..."


