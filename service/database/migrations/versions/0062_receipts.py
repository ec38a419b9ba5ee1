"""Finds the newest receipts of a level, without reading what was sold since."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0062"
down_revision = "0061"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "stock_movement_receipt_idx",
        "stock_movement",
        ["sku", "location_id", "effective_time", "id"],
        postgresql_where=sa.text("on_hand_delta > 0"),
    )


def downgrade() -> None:
    op.drop_index("stock_movement_receipt_idx", "stock_movement")
