"""A location's handling time and an order's priority may be unknown, which is null and not 0."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("location", "handling_minutes", "from order to hand-over; null if nobody has stated it"),
    ("allocation", "priority", "as the channel states it; null is none, which is served like 0"),
)


def upgrade() -> None:
    for table, column, comment in _COLUMNS:
        op.alter_column(table, column, existing_type=sa.Integer(), nullable=True, comment=comment)
        # Until now "not stated" was stored as 0, and nearly every 0 was that.
        op.execute(f"UPDATE {table} SET {column} = NULL WHERE {column} = 0")


def downgrade() -> None:
    for table, column, _ in _COLUMNS:
        op.execute(f"UPDATE {table} SET {column} = 0 WHERE {column} IS NULL")
        op.alter_column(table, column, existing_type=sa.Integer(), nullable=False, comment=None)
