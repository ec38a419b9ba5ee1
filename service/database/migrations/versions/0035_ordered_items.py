"""Order lines, cancellations and quarantined stock changes keep which item of a channel they name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

_PRICE = "of an item, if the line names one"


def upgrade() -> None:
    op.alter_column("order_line", "unit_price", comment=_PRICE)
    op.add_column(
        "order_line",
        sa.Column("item_id", sa.Text, comment="the channel's item that was ordered; null if the line names a SKU"),
    )
    op.add_column("order_line", sa.Column("item_count", sa.Integer, comment="how many items were ordered"))
    op.add_column(
        "order_line",
        sa.Column(
            "item_units", sa.Integer, comment="units in each item; 0 while no listing maps it, and the SKU is empty"
        ),
    )
    op.create_check_constraint(
        op.f("order_line_item_counted_check"), "order_line", "(item_id IS NULL) = (item_count IS NULL)"
    )
    op.create_check_constraint(
        op.f("order_line_item_whole_check"), "order_line", "(item_id IS NULL) = (item_units IS NULL)"
    )
    named, unmapped = sa.text("item_id IS NOT NULL"), sa.text("item_units = 0")
    op.create_index("order_line_item_idx", "order_line", ["item_id", "allocation_id"], postgresql_where=named)
    op.create_index("order_line_unmapped_idx", "order_line", ["item_id"], postgresql_where=unmapped)
    op.add_column(
        "order_cancellation",
        sa.Column("item_id", sa.Text, comment="unit_count is of this item; null if it is of units"),
    )
    op.add_column(
        "stock_quarantine", sa.Column("channel_id", sa.Text, comment="of the item; null if the change names a SKU")
    )
    op.add_column(
        "stock_quarantine",
        sa.Column(
            "item_id", sa.Text, comment="the item that the change names; its SKU is empty while no listing maps it"
        ),
    )
    op.create_check_constraint(
        op.f("stock_quarantine_item_whole_check"), "stock_quarantine", "(channel_id IS NULL) = (item_id IS NULL)"
    )
    op.create_index(
        "stock_quarantine_item_idx",
        "stock_quarantine",
        ["channel_id", "item_id"],
        postgresql_where=sa.text("sku = '' AND item_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("stock_quarantine_item_idx", "stock_quarantine")
    op.drop_column("stock_quarantine", "item_id")
    op.drop_column("stock_quarantine", "channel_id")
    op.drop_column("order_cancellation", "item_id")
    op.drop_index("order_line_unmapped_idx", "order_line")
    op.drop_index("order_line_item_idx", "order_line")
    for name in ("item_units", "item_count", "item_id"):
        op.drop_column("order_line", name)
    op.alter_column("order_line", "unit_price", comment=None, existing_comment=_PRICE)
