"""The table of requests."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the table; in PostgreSQL it has a partition for each month."""
    op.create_table(
        "berlin_requests",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("user", sa.String(200), nullable=False),
        sa.Column("face", sa.String(32), nullable=False),
        sa.Column("provider", sa.String(200), nullable=False),
        sa.Column("account", sa.String(200), nullable=False),
        sa.Column("model_asked", sa.String(200), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("attempts", sa.Integer),
        sa.Column("input_tokens", sa.BigInteger),
        sa.Column("output_tokens", sa.BigInteger),
        sa.Column("cached_tokens", sa.BigInteger),
        sa.Column("cache_write_tokens", sa.BigInteger),
        sa.Column("reasoning_tokens", sa.BigInteger),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.Column("cost_nanos", sa.BigInteger),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String(64), nullable=False),
        sa.Column("first_event_ms", sa.Float),
        sa.Column("duration_ms", sa.Float),
        # A partitioned table has its partition's column in every unique key.
        sa.PrimaryKeyConstraint("id", "at"),
        # SQLite ignores the options of another database.
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index("berlin_requests_at", "berlin_requests", ["at"])
    op.create_index("berlin_requests_key_at", "berlin_requests", ["key", "at"])
