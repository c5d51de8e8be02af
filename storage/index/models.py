"""Tables of the index. `migrations/` creates them; a test keeps the two equal."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
)

metadata = MetaData()


class Bytes(LargeBinary):
    """Binary data handed to the driver as it is: SQLAlchemy's wrapping took a sixth of the node's time under load."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> None:  # noqa: ARG002 - SQLAlchemy's signature
        """None: ``bytes`` need no conversion for sqlite3 or psycopg."""
        return

transactions = Table(
    "transactions",
    metadata,
    Column("hash", Bytes(32), primary_key=True),
    Column("block", BigInteger, nullable=False),
    Column("tx_index", Integer, nullable=False),
    Column("sender", Bytes(20), nullable=False),
    Column("to", Bytes(20)),
    Index("transactions_by_block", "block", "tx_index"),
    sqlite_with_rowid=False,
)
"""Where a transaction is. ``to`` is null for creations."""

logs = Table(
    "logs",
    metadata,
    Column("block", BigInteger, nullable=False),
    Column("log_index", Integer, nullable=False),
    Column("tx_index", Integer, nullable=False),
    Column("address", Bytes(20), nullable=False),
    Column("topic0", Bytes(32)),
    Column("topic1", Bytes(32)),
    Column("topic2", Bytes(32)),
    Column("topic3", Bytes(32)),
    PrimaryKeyConstraint("block", "log_index"),
    Index("logs_by_address", "address", "block", "log_index"),
    Index("logs_by_topic0", "topic0", "block", "log_index"),
    sqlite_with_rowid=False,
)
"""Where logs are. ``log_index`` counts within the block, as in JSON-RPC; data stays with the receipts."""

contracts = Table(
    "contracts",
    metadata,
    Column("address", Bytes(20), nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("tx_hash", Bytes(32), nullable=False),
    Column("creator", Bytes(20), nullable=False),
    PrimaryKeyConstraint("address", "block"),
    Index("contracts_by_block", "block"),
    sqlite_with_rowid=False,
)
"""Which transaction created a contract. An address can be created again after a self-destruct."""

watermark = Table(
    "watermark",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("lsn", BigInteger, nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("block_hash", Bytes(32), nullable=False),
)
"""How far the index reaches: at most one row, with id 1, written with the rows it speaks of."""
