"""Finds orders by the beginning and by the end of their number, in any letter case, by index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None

TABLES = ("allocation", "allocation_copy")


def upgrade() -> None:
    for table in TABLES:
        op.create_index(f"{table}_number_idx", table, [sa.text("lower(order_id) text_pattern_ops")])
        op.create_index(f"{table}_number_end_idx", table, [sa.text("reverse(lower(order_id)) text_pattern_ops")])


def downgrade() -> None:
    for table in TABLES:
        op.drop_index(f"{table}_number_end_idx", table)
        op.drop_index(f"{table}_number_idx", table)
