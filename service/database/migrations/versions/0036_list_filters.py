"""Lists of orders, shipments and exceptions find what passes their filters by index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

_OPEN = sa.text("state IN ('assigned', 'accepted', 'ready_for_pickup')")
_DUE_TIME = sa.text("coalesce(ship_by_time, '9999-12-31 00:00:00+00'::timestamptz)")
_EXCEPTION_COLUMNS = ("channel_id", "assignee", "sku", "location_id")
"""Columns that are null in many exceptions."""


def upgrade() -> None:
    op.create_index(
        "allocation_outcome_idx",
        "allocation",
        ["outcome", "id"],
        postgresql_where=sa.text("outcome NOT IN ('allocated', 'ended')"),
    )
    op.create_index("order_line_sku_idx", "order_line", ["sku", "allocation_id"])
    op.create_index("shipment_due_idx", "shipment", [_DUE_TIME, "id"], postgresql_where=_OPEN)
    op.create_index("shipment_due_here_idx", "shipment", ["location_id", _DUE_TIME, "id"], postgresql_where=_OPEN)
    op.create_index("shipment_open_order_idx", "shipment", ["allocation_id"], postgresql_where=_OPEN)
    op.create_index("exception_open_idx", "exception", ["id"], postgresql_where=sa.text("state = 'open'"))
    op.create_index("exception_owner_idx", "exception", ["owner", "state"])
    op.create_index("exception_kind_idx", "exception", ["kind", "state"])
    for name in _EXCEPTION_COLUMNS:
        is_set = sa.text(f"{name} IS NOT NULL")
        op.create_index(_exception_index(name), "exception", [name, "state"], postgresql_where=is_set)
    op.create_index(
        "transfer_in_transit_idx",
        "transfer",
        ["dispatch_time", "id"],
        postgresql_where=sa.text("complete_time IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("transfer_in_transit_idx", "transfer")
    for name in _EXCEPTION_COLUMNS:
        op.drop_index(_exception_index(name), "exception")
    op.drop_index("exception_kind_idx", "exception")
    op.drop_index("exception_owner_idx", "exception")
    op.drop_index("exception_open_idx", "exception")
    op.drop_index("shipment_open_order_idx", "shipment")
    op.drop_index("shipment_due_here_idx", "shipment")
    op.drop_index("shipment_due_idx", "shipment")
    op.drop_index("order_line_sku_idx", "order_line")
    op.drop_index("allocation_outcome_idx", "allocation")


def _exception_index(name: str) -> str:
    return f"exception_{name.removesuffix('_id')}_idx"
