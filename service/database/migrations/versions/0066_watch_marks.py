"""Keeps marks of watches, so that resume tokens from before a restore are recognized.

A token of an earlier version names no mark: its watch begins again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0066"
down_revision = "0065"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "watch_mark",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="rises with every mark; resume tokens name it"),
        sa.Column(
            "system_identifier",
            sa.BigInteger(),
            nullable=False,
            comment="PostgreSQL's, of the cluster that the watch reads",
        ),
        sa.Column(
            "write_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="of the last mark",
        ),
        sa.PrimaryKeyConstraint("id", name="watch_mark_pkey"),
        comment="The last mark of each watch, so that it is seen when a restored database lacks what was sent.",
    )


def downgrade() -> None:
    op.drop_table("watch_mark")
