"""The three stores of one simulated machine, and what a crash leaves of them.

The log is on a `SimFs`, the state in a `SimKv`, the index in a real SQLite database held in memory. Every batch and
every SQL transaction counts as two calls, so that the process may end before it and after it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from random import Random
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, create_engine, event, make_url
from sqlalchemy.pool import StaticPool

from chain.blocks import encode_header
from storage.directory.identity import read_genesis
from storage.export import founding_export, restore_export
from storage.index.file import IndexFile
from storage.index.index import Index
from storage.index.migrate import migrate
from storage.index.queries import revisions_of
from storage.index.rows import BlockRows, IndexWatermark
from storage.index.sessions import SessionRow
from storage.index.sql import SqlWriter
from storage.io.cooperative import Pace, at_once
from storage.state.keys import META_HEAD
from tests.paths import REPO
from tests.simulation.simfs import SimFs
from tests.simulation.simkv import SimKv

MIGRATIONS = REPO / "migrations"
OLDER = "0001"
"""Schema before the newest one."""


class MachineKv(SimKv):
    """The state store of a machine."""

    def __init__(self, fs: SimFs, data: Mapping[bytes, bytes] | None = None) -> None:
        super().__init__(data)
        self._fs = fs

    def write(self, puts: Mapping[bytes, bytes], deletes: Iterable[bytes], pace: Pace = at_once) -> None:
        self._fs.count_call("kv write")
        super().write(puts, deletes, pace)
        self._fs.count_call("kv written")


Observer = Callable[["Disk", str], None]


@cache
def dialect() -> Dialect:
    """SQLAlchemy's SQLite dialect after its first connection: to set it up again for every index takes a while."""
    engine = create_engine("sqlite://")
    engine.connect().close()
    return engine.dialect


STATEMENTS: dict[Any, Any] = {}
"""Compiled, of all indexes; there are a few dozen."""


def engine_over(connection: sqlite3.Connection) -> Engine:
    """SQLAlchemy over one open SQLite connection, with real transactions."""
    pool = StaticPool(lambda: connection, dialect=dialect())
    engine = Engine(pool, dialect(), make_url("sqlite://"), execution_options={"compiled_cache": STATEMENTS})

    def begin(of: Connection) -> None:
        of.exec_driver_sql("BEGIN")

    event.listen(engine, "begin", begin)
    return engine


def connect(image: bytes | None) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    if image is not None:
        connection.deserialize(image)
    return connection


@cache
def empty_index() -> bytes:
    """An index after its migrations."""
    connection = connect(None)
    migrate(engine_over(connection), MIGRATIONS)
    return connection.serialize()


def older_index(image: bytes) -> bytes:
    """An index as the version before would have it: without the tables of the newest migration."""
    connection = connect(image)
    for table in ("sessions", "session_tags", "session_watermark"):
        connection.execute(f"DROP TABLE {table}")
    connection.execute(f"UPDATE alembic_version SET version_num = '{OLDER}'")
    return connection.serialize()


class MachineWriter(SqlWriter):
    """Writes the index of a machine; remembers what each transaction left."""

    def __init__(self, disk: Disk, connection: sqlite3.Connection) -> None:
        super().__init__(MIGRATIONS, MIGRATIONS)
        self._disk = disk
        self._connection = connection
        self._engine = engine_over(connection)

    def prepare(self) -> None:
        self._disk.fs.count_call("index write")
        super().prepare()
        self._committed()

    def write(self, blocks: Sequence[BlockRows], lsn: int) -> IndexWatermark:
        self._disk.fs.count_call("index write")
        mark = super().write(blocks, lsn)
        self._committed()
        return mark

    def write_sessions(self, rows: Sequence[SessionRow], gone: Sequence[int], lsn: int, *, all_: bool) -> None:
        self._disk.fs.count_call("index write")
        super().write_sessions(rows, gone, lsn, all_=all_)
        self._committed()

    def _committed(self) -> None:
        self._disk.index.append(self._connection.serialize())
        self._disk.fs.count_call("index written")

    def close(self) -> None:
        """The connection is the machine's."""


class MachineFile(IndexFile):
    """The database of a machine, to which there is one connection."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(MIGRATIONS)
        self._disk = disk
        self.connection = connect(disk.index[-1])

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        yield self.connection

    def remember(self) -> None:
        """There are no files that could be moved."""

    def destroy(self) -> None:
        self._disk.fs.count_call("index write")
        for (table,) in self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            self.connection.execute(f"DROP TABLE {table}")
        self._disk.index.append(self.connection.serialize())
        self._disk.fs.count_call("index written")

    def close(self) -> None:
        """The connection goes with the machine."""


def machine_index(disk: Disk) -> Index:
    """The index of a machine."""
    file = MachineFile(disk)
    index = Index(file, revisions_of(MIGRATIONS), MachineWriter(disk, file.connection))
    index.inspect()
    return index


def genesis_header(fs: SimFs) -> bytes:
    """Block 0's header of the chain on a machine."""
    genesis = read_genesis(fs)
    assert genesis is not None
    return encode_header(genesis.header())


def nobody(_disk: Disk, _kind: str) -> None:
    """Looks away."""


@dataclass(slots=True)
class Disk:
    """What outlives the process."""

    fs: SimFs
    kv: MachineKv
    index: list[bytes] = field(default_factory=lambda: [empty_index()])
    """The index after each transaction since it was last synced; a power loss leaves any one of them."""
    observer: Observer = nobody
    waits: int = 0
    """How often the writer has waited for room."""

    @classmethod
    def new(cls, seed: int) -> Disk:
        """An empty machine."""
        fs = SimFs(seed)
        return cls(fs, MachineKv(fs))

    def observe(self, observer: Observer) -> None:
        """Let ``observer`` know of every call on this machine before it happens."""
        self.observer = observer
        self.fs.watch = lambda kind: observer(self, kind)

    def picture(self) -> Disk:
        """The machine as it is now, with what is pending, as the next process would find it."""
        return self._with(self.fs.restart(), self.index)

    def survivors(self, seed: int, count: int | None) -> Iterator[tuple[str, Disk]]:
        """What a power loss or a kill may leave: `SimFs.survivors`, each with one of the index's versions."""
        source = Random(seed)
        for number, (name, fs) in enumerate(self.fs.survivors(seed, count)):
            version = len(self.index) - 1
            if name != "killed" and number % 2 == 0:
                version = source.randrange(len(self.index))
            yield f"{name}, index {version}", self._with(fs, self.index[version : version + 1])

    def _with(self, fs: SimFs, index: list[bytes]) -> Disk:
        return Disk(fs, MachineKv(fs, self.kv.items()), list(index))

    def bare(self) -> Disk:
        """The machine with every derived store lost; the state is what the export makes that the log begins with."""
        left = self.picture()
        left.kv, left.index = MachineKv(left.fs), [empty_index()]
        founding = founding_export(left.fs)
        if founding:
            store = SimKv()
            restore_export(left.fs, founding, store, genesis_header(left.fs))
            left.kv = MachineKv(left.fs, store.items())
        return left

    def fingerprint(self) -> bytes:
        """The same for machines on which the next process does the same."""
        digest = blake2b(digest_size=16)
        for path, content in files(self.fs):
            digest.update(f"{path} {len(content)} ".encode() + content)
        digest.update(repr([hash(effect) for effect in self.fs._pending]).encode())
        digest.update(self.kv.get(META_HEAD) or b"")
        digest.update(self.index[-1])
        return digest.digest()


def files(fs: SimFs, inode: int = 0, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Every file the process sees."""
    for name, child in sorted(fs._directories[inode].items()):
        if child in fs._files:
            yield prefix + name, bytes(fs._files[child])
        else:
            yield from files(fs, child, f"{prefix}{name}/")
