"""Listings map the items of channels to units of SKUs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.create_table(
        "listing",
        sa.Column("channel_id", sa.Text, primary_key=True),
        sa.Column("item_id", sa.Text, primary_key=True),
        sa.Column("sku", sa.Text, nullable=False),
        sa.Column("unit_count", sa.Integer, nullable=False, comment="units of the SKU in one item"),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False, server_default=_NOW),
        sa.Column("update_time", sa.TIMESTAMP(timezone=True), nullable=False, server_default=_NOW),
        sa.CheckConstraint("unit_count >= 1", name="listing_unit_count_positive_check"),
        comment="What channels sell under ids of their own. Orders keep what their items were when they were taken in.",
    )
    op.create_index("listing_item_idx", "listing", ["item_id", "channel_id"])
    op.create_index("listing_sku_idx", "listing", ["sku", "channel_id", "item_id"])


def downgrade() -> None:
    op.drop_table("listing")
