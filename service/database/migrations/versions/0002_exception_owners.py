"""Exceptions have an owner, a time by which they are due, somebody to escalate to, and the rule that says so."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("exception", sa.Column("owner", sa.Text(), nullable=True))
    op.add_column("exception", sa.Column("due_time", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.add_column(
        "exception",
        sa.Column("escalate_to", sa.Text(), nullable=True, comment="who gets it once it is overdue; null is nobody"),
    )
    op.add_column("exception", sa.Column("action", sa.Text(), nullable=True))
    op.add_column("exception", sa.Column("rule", sa.Text(), nullable=True, comment="what decided, and where it stands"))
    # What was raised before there were rules is settled as a folder without any says.
    op.execute(
        "UPDATE exception SET owner = 'operations', action = 'review', rule = 'built-in', "
        "due_time = create_time + interval '1 day'"
    )
    for column in ("owner", "due_time", "action", "rule"):
        op.alter_column("exception", column, nullable=False)


def downgrade() -> None:
    for column in ("rule", "action", "escalate_to", "due_time", "owner"):
        op.drop_column("exception", column)
