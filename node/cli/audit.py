"""``zvmd audit``: who did what needs a right, from the audit log on disk."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import click

from node.cli.output import print_json_line, say
from node.ops.audit import AUDIT_FILE, read_audit
from zvmd.endpoint import data_directory


@click.command()
@click.option("-n", "--count", type=click.IntRange(min=1), default=20, show_default=True, help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="Print records as JSON, one per line.")
@click.option("--data-dir", envvar="ZVMD_DATA_DIR", type=click.Path(file_okay=False), help="The node's data directory.")
def audit(count: int, as_json: bool, data_dir: str | None) -> None:
    """Print the newest records of the audit log: administrative acts, and tokens that were refused.

    Development calls are in it on chains that are not of the public test mnemonic.
    """
    directory = Path(data_directory(data_dir))
    if not directory.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no data directory", str(directory))
    records = read_audit(directory, count)
    for record in records:
        print_json_line(record) if as_json else say(_line(record))
    if not records and not as_json:
        say(f"no records in {directory / AUDIT_FILE}")


def _line(record: dict[str, Any]) -> str:
    who = record.get("caller")
    origin = " ".join(str(part) for part in (record.get("way"), record.get("address")) if part)
    parts = [str(record.get("time")), str(record.get("event")), str(who or ""), f"({origin})" if origin else ""]
    if "method" in record:
        parts += [f"{record['method']} {record.get('params', '')}", f"-> {record.get('outcome')}"]
    parts += [f"{name}: {record[name]}" for name in ("until", "untold", "lost") if name in record]
    return "  ".join(part for part in parts if part)
