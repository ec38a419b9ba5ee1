"""The movements of a product are listed by index; movements of orders have no entry in that of change ids."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint("stock_movement_source_change_id_key", "stock_movement")
    op.create_index(
        "stock_movement_change_idx",
        "stock_movement",
        ["source", "change_id"],
        unique=True,
        postgresql_where=sa.text("change_id IS NOT NULL"),
    )
    op.create_index("stock_movement_sku_idx", "stock_movement", ["sku", "ingest_time", "id"])


def downgrade() -> None:
    op.drop_index("stock_movement_sku_idx", "stock_movement")
    op.drop_index("stock_movement_change_idx", "stock_movement")
    op.create_unique_constraint("stock_movement_source_change_id_key", "stock_movement", ["source", "change_id"])
