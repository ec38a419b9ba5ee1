"""Cancellations have who caused them and why, in their rows and in the timeline of their order."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_FAULT = "who caused the cancellation: buyer, seller, carrier or fraud; null if unknown"


def upgrade() -> None:
    op.add_column(
        "order_cancellation",
        sa.Column("fault", sa.Text, comment="buyer, seller, carrier or fraud; null if nobody stated it"),
    )
    op.add_column("order_cancellation", sa.Column("reason", sa.Text, comment="as stated"))
    op.add_column(
        "order_event",
        sa.Column("cancelled", sa.Integer, comment="units that it cancelled; null if it cancelled none"),
    )
    op.add_column("order_event", sa.Column("fault", sa.Text, comment=_FAULT))
    op.add_column("order_event", sa.Column("cancel_reason", sa.Text, comment="why the units were cancelled, as stated"))


def downgrade() -> None:
    for name in ("cancel_reason", "fault", "cancelled"):
        op.drop_column("order_event", name)
    for name in ("reason", "fault"):
        op.drop_column("order_cancellation", name)
