"""Debug sessions by what they are searched for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of sessions; the next start fills them."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("fork", sa.Text, nullable=False),
        sa.Column("code_hash", sa.LargeBinary(32)),
        sa.Column("contract", sa.LargeBinary(20)),
        sa.Column("transaction", sa.LargeBinary(32)),
        sa.Column("halt", sa.Text),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.Column("steps", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("pinned", sa.SmallInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    for column in ("code_hash", "contract", "transaction", "halt"):
        op.create_index(f"sessions_by_{column}", "sessions", [column, "id"])
    op.create_table(
        "session_tags",
        sa.Column("tag", sa.Text, nullable=False),
        sa.Column("session", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tag", "session"),
        sqlite_with_rowid=False,
    )
    op.create_index("session_tags_by_session", "session_tags", ["session"])
    op.create_table(
        "session_watermark",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("lsn", sa.BigInteger, nullable=False),
    )
