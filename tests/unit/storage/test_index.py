"""The SQL index: lookups against a naive scan, idempotent writing, migrations that are whole, damage."""

from __future__ import annotations

import random
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event

from chain.blocks import Block
from chain.receipts import Receipt
from chain.transactions import Transaction
from chain.types import Address, Hash32
from storage.errors import IndexDamaged, StoreTooNew
from storage.index.engine import open_engine
from storage.index.file import destroy
from storage.index.follower import rows_of
from storage.index.index import Index
from storage.index.migrate import migrate
from storage.index.models import metadata
from storage.index.queries import LOGS_MAX, TABLES, LogCoordinates, LogFilter, TransactionPosition
from storage.index.rows import BlockRows, ContractRow, IndexWatermark
from storage.index.sql import SqlWriter
from tests.paths import REPO
from tests.unit.storage.chains import make_chain

MIGRATIONS = REPO / "migrations"


def with_senders(block: Block, receipts: Sequence[Receipt]) -> list[tuple[Transaction, Receipt, Address]]:
    senders = [Address((n + 1).to_bytes(20)) for n in range(len(receipts))]
    return list(zip(block.transactions, receipts, senders, strict=True))


def entries(length: int, seed: int = 1, transactions: int = 3) -> list[BlockRows]:
    return [
        rows_of(block.header.number, block.hash, with_senders(block, receipts))
        for block, receipts in make_chain(length, seed, transactions)
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


def opened(path: Path, *, thorough: bool = False) -> Index:
    index = Index.open(path, MIGRATIONS, SqlWriter(path, MIGRATIONS), thorough=thorough)
    index.prepare()
    return index


@pytest.fixture
def index(path: Path) -> Iterator[Index]:
    found = opened(path)
    yield found
    found.close()


def dump(path: Path) -> list[str]:
    with sqlite3.connect(path) as connection:
        return sorted(connection.iterdump())


def naive_logs(chain: list[BlockRows], wanted: LogFilter) -> list[LogCoordinates]:
    return [
        LogCoordinates(block.number, log_index, log.tx_index)
        for block in chain
        if wanted.first_block <= block.number <= wanted.last_block
        for log_index, log in enumerate(block.logs)
        if (not wanted.addresses or log.address in wanted.addresses)
        and len(log.topics) >= len(wanted.topics)
        and all(ts is None or log.topics[at] in ts for at, ts in enumerate(wanted.topics))
    ]


def test_lookups_equal_a_scan(index: Index) -> None:
    chain = entries(40)
    for first in range(0, 40, 7):
        index.write(chain[first : first + 7], lsn=first)
    for (block, receipts), rows in zip(make_chain(40, 1, 3), chain, strict=True):
        for at, (tx, receipt) in enumerate(zip(block.transactions, receipts, strict=True)):
            assert index.transaction(tx.hash) == TransactionPosition(rows.number, at)
            if receipt.contract_address is not None:
                origin = index.contract(receipt.contract_address)
                expected = (rows.number, tx.hash, Address((at + 1).to_bytes(20)))
                assert origin == (expected if receipt.status else None)
    assert index.transaction(Hash32(bytes(32))) is None
    assert index.contract(Address(bytes(20))) is None
    rng = random.Random(3)
    topics = [Hash32(bytes([n]) * 32) for n in range(5)]
    for _ in range(200):
        first = rng.randint(0, 39)
        wanted = LogFilter(
            first,
            rng.randint(first, 45),
            rng.sample([Address(bytes([n]) * 20) for n in range(1, 5)], rng.randint(0, 3)),
            [rng.choice([None, rng.sample(topics, rng.randint(0, 3))]) for _ in range(rng.randint(0, 4))],
        )
        expected_logs = naive_logs(chain, wanted)
        assert index.logs(wanted) == (expected_logs, None)
        paged: list[LogCoordinates] = []
        cursor: LogCoordinates | None = None
        limit = rng.randint(1, 5)
        while True:
            page, cursor = index.logs(wanted, limit, cursor)
            assert len(page) <= limit
            paged += page
            if cursor is None:
                break
        assert paged == expected_logs


def test_limits() -> None:
    with pytest.raises(ValueError, match="addresses"):
        LogFilter(0, 1, [Address(n.to_bytes(20, "big")) for n in range(1001)])
    with pytest.raises(ValueError, match="positions"):
        LogFilter(0, 1, (), [None] * 5)
    with pytest.raises(ValueError, match="alternatives"):
        LogFilter(0, 1, (), [[Hash32(n.to_bytes(32, "big")) for n in range(1001)]])


def test_limit_of_a_page(index: Index) -> None:
    for limit in (0, LOGS_MAX + 1):
        with pytest.raises(ValueError, match="limit"):
            index.logs(LogFilter(0, 1), limit)


def test_writing_again_and_after_a_rewind_leaves_exactly_the_rows(index: Index, path: Path) -> None:
    chain, other = entries(12), entries(12, seed=2)
    index.write(chain, 12)
    once = dump(path)
    index.write(chain[5:], 12)
    assert dump(path) == once
    index.write(other[4:8], 8)
    assert index.watermark() == IndexWatermark(8, 7, other[7].hash)
    assert index.transaction(chain[10].transactions[0].hash) is None
    index.write(chain[4:], 12)
    assert dump(path) == once
    with pytest.raises(IndexDamaged, match="was to follow"):
        index.write(entries(20)[15:], 20)
    with pytest.raises(ValueError, match="should be"):
        index.write([chain[3], chain[5]], 20)
    assert dump(path) == once
    index.write(chain[:3], 3)
    assert index.watermark() == IndexWatermark(3, 2, chain[2].hash)
    index.write(chain[2:], 12)
    assert dump(path) == once
    index.make_durable()


def test_a_transaction_that_is_twice_in_the_chain_and_contracts_made_by_contracts(index: Index) -> None:
    block = msgspec.structs.replace(entries(2)[1], number=0)
    tx, again = block.transactions[0], block.transactions[1]
    made = ContractRow(Address(b"\x77" * 20), again.hash, Address(b"\x66" * 20))
    index.write([msgspec.structs.replace(block, transactions=(tx, again, tx), contracts=(made,))], 1)
    assert index.transaction(tx.hash) == (0, 2)
    assert index.contract(made.address) == (0, again.hash, made.creator)


def test_the_schema_is_the_models(path: Path) -> None:
    writing = open_engine(path)
    assert migrate(writing, MIGRATIONS)
    assert not migrate(writing, MIGRATIONS)
    assert sorted(TABLES) == sorted(metadata.tables)
    with writing.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        for pragma, value in (
            ("journal_mode", "wal"),
            ("synchronous", 1),
            ("foreign_keys", 1),
            ("trusted_schema", 0),
        ):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value
    writing.dispose()


def test_a_migration_stopped_at_any_statement_leaves_nothing(path: Path) -> None:
    stopped = 0
    for stop_at in range(1, 40):
        writing = open_engine(path)
        count = 0

        def fail(*_: object, at: int = stop_at) -> None:
            nonlocal count
            count += 1
            if count == at:
                raise KeyboardInterrupt

        event.listen(writing, "before_cursor_execute", fail)
        try:
            migrate(writing, MIGRATIONS)
        except KeyboardInterrupt:
            stopped += 1
            writing.dispose()
            assert [line for line in dump(path) if "CREATE" in line] == []
            continue
        writing.dispose()
        break
    assert stopped > 8
    opened(path).close()


def test_a_copy_of_an_index_opens_and_a_later_schema_does_not(index: Index, path: Path, tmp_path: Path) -> None:
    index.write(entries(5), 5)
    index.make_durable()
    shutil.copy(tmp_path / "index.sqlite", tmp_path / "copy.sqlite")
    copy = tmp_path / "copy.sqlite"
    opened(copy, thorough=True).close()
    assert dump(copy) == dump(path)
    with sqlite3.connect(tmp_path / "copy.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreTooNew):
        opened(copy)


@pytest.mark.parametrize("table", ["logs", "watermark", "alembic_version"])
def test_missing_tables_are_damage(index: Index, path: Path, table: str) -> None:
    index.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"DROP TABLE {table}")
    with pytest.raises(IndexDamaged):
        opened(path)


@pytest.mark.parametrize("seeds", [range(40), pytest.param(range(40, 400), marks=pytest.mark.full)])
def test_damaged_files_are_rebuilt_equal(path: Path, seeds: range) -> None:
    chain = entries(30)
    index = opened(path)
    index.write(chain, 30)
    index.make_durable()
    index.close()
    good = dump(path)
    pristine = path.read_bytes()
    damaged = 0
    for seed in seeds:
        rng = random.Random(seed)
        data = bytearray(pristine)
        at = rng.randrange(len(data))
        kind = rng.choice(["flip", "byte", "zero page", "cut", "garbage"])
        if kind == "flip":
            data[at] ^= 1 << rng.randrange(8)
        elif kind == "byte":
            data[at] = rng.randrange(256)
        elif kind == "zero page":
            data[at // 4096 * 4096 : at // 4096 * 4096 + 4096] = bytes(4096)
        elif kind == "cut":
            del data[at:]
        else:
            data[at : at + 200] = rng.randbytes(min(200, len(data) - at))
        destroy(path)
        path.write_bytes(data)
        try:
            found = opened(path, thorough=True)
            try:
                found.transaction(chain[5].transactions[0].hash)
                found.logs(LogFilter(0, 100))
                found.contract(Address(bytes(20)))
            finally:
                found.close()
        except (IndexDamaged, StoreTooNew):
            damaged += 1
            destroy(path)
            rebuilt = opened(path)
            rebuilt.write(chain, 30)
            rebuilt.close()
            assert dump(path) == good
    assert damaged > 0.4 * len(seeds)


def test_readers_see_whole_ranges_while_a_writer_writes(index: Index) -> None:
    chain = entries(60)
    index.write(chain[:1], 0)
    failures: list[object] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                mark = index.watermark()
                assert mark is not None
                wanted = LogFilter(0, mark.block)
                if index.logs(wanted)[0] != naive_logs(chain, wanted):
                    failures.append(mark)
        except Exception as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for first in range(1, 60, 3):
        index.write(chain[first : first + 3], first)
    stop.set()
    for reader in readers:
        reader.join()
    assert not failures


def test_a_block_of_a_thousand_transactions_takes_no_more_statements_than_one_of_ten(index: Index) -> None:
    statements: list[list[str]] = [[]]

    def executed(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements[-1].append(statement)

    assert isinstance(index._writer, SqlWriter)
    event.listen(index._writer._connected(), "before_cursor_execute", executed)
    for count in (10, 1_000):
        chain = entries(3, transactions=count)
        index.write(chain[:2], 1)
        statements.append([])
        index.write(chain[2:], 2)
        statements.append([])
    few, many = statements[1], statements[3]
    assert many == few
    assert 0 < len(many) < 20
