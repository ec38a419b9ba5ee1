"""Lets services find out how far a replica is behind: each writes a number here, and looks for it on the replica."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0070"
down_revision = "0069"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = "rises each time; a replica that has it has all that was committed before"
    op.create_table(
        "replica_heartbeat",
        sa.Column("reader", sa.Uuid(), primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False, comment=number),
        sa.Column("beat_time", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("clock_timestamp()")),
        comment="Written by each process that reads from a replica, and looked for there.",
    )


def downgrade() -> None:
    op.drop_table("replica_heartbeat")
