"""Lookups of transactions, logs and contracts, and the watermark."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "transactions",
        sa.Column("hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("tx_index", sa.Integer, nullable=False),
        sa.Column("sender", sa.LargeBinary(20), nullable=False),
        sa.Column("to", sa.LargeBinary(20)),
        sqlite_with_rowid=False,
    )
    op.create_index("transactions_by_block", "transactions", ["block", "tx_index"])
    op.create_table(
        "logs",
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("log_index", sa.Integer, nullable=False),
        sa.Column("tx_index", sa.Integer, nullable=False),
        sa.Column("address", sa.LargeBinary(20), nullable=False),
        sa.Column("topic0", sa.LargeBinary(32)),
        sa.Column("topic1", sa.LargeBinary(32)),
        sa.Column("topic2", sa.LargeBinary(32)),
        sa.Column("topic3", sa.LargeBinary(32)),
        sa.PrimaryKeyConstraint("block", "log_index"),
        sqlite_with_rowid=False,
    )
    op.create_index("logs_by_address", "logs", ["address", "block", "log_index"])
    op.create_index("logs_by_topic0", "logs", ["topic0", "block", "log_index"])
    op.create_table(
        "contracts",
        sa.Column("address", sa.LargeBinary(20), nullable=False),
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("tx_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("creator", sa.LargeBinary(20), nullable=False),
        sa.PrimaryKeyConstraint("address", "block"),
        sqlite_with_rowid=False,
    )
    op.create_index("contracts_by_block", "contracts", ["block"])
    op.create_table(
        "watermark",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("lsn", sa.BigInteger, nullable=False),
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("block_hash", sa.LargeBinary(32), nullable=False),
    )
