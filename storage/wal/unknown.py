"""Records that this version does not know: numbers reserved for later versions, and the rule for such a record.

A record is known if its type and the schema of its payload are. What is not known is skipped if its flag says OPTIONAL,
and carried along by everything that copies logs; without the flag it is critical, and the log is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from storage.errors import StoreTooNew
from storage.wal.format import OPTIONAL, Record
from storage.wal.records import SCHEMAS, RecordType


class Reserved(NamedTuple):
    """A type that no version has written yet. Its payload is planned in docs/formats/wal.md."""

    name: str
    optional: bool
    """Whether programs that do not know it may skip it."""


RESERVED: Final[Mapping[int, Reserved]] = {
    15: Reserved("BLOCK", optional=False),
    16: Reserved("PARENT", optional=False),
    17: Reserved("FORKCHOICE", optional=False),
    18: Reserved("FORK_BASE", optional=False),
    19: Reserved("FORK_READ", optional=False),
    20: Reserved("TERM", optional=False),
    21: Reserved("GUEST_FAULT", optional=False),
    22: Reserved("WALLET", optional=True),
    23: Reserved("NAME", optional=True),
    24: Reserved("ARTEFACT", optional=True),
}
"""Types by number. A number is given once; who writes the first record of a type moves its row to `RecordType`."""

_KNOWN = frozenset(RecordType)


def type_name(number: int) -> str:
    """Name of a record type; of one that nothing is known of, its number.

    >>> type_name(3), type_name(18), type_name(200)
    ('TRANSACTION', 'FORK_BASE', 'type 200')
    """
    if number in _KNOWN:
        return RecordType(number).name
    return RESERVED[number].name if number in RESERVED else f"type {number}"


def is_known(record: Record) -> bool:
    """Whether this version reads the record's type and schema."""
    return record.schema <= SCHEMAS.get(record.type, -1)


def describe_unknown(record: Record) -> str:
    """What an unknown record is, in words."""
    return f"a {type_name(record.type)} record (type {record.type}, schema {record.schema}) of a later version of zvmd"


def check_type(record: Record, path: str) -> bool:
    """Whether this version knows a record; False if it may skip it. Raises `StoreTooNew` if it is critical."""
    if is_known(record):
        return True
    if record.flags & OPTIONAL:
        return False
    raise StoreTooNew(f"{path} holds {describe_unknown(record)} at LSN {record.lsn}")
