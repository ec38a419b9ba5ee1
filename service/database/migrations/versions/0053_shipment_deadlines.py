"""Keeps which of their times shipments kept, from when they ship or when their time passes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = "when it was counted: when it shipped or arrived, or when its time passed"
    op.create_table(
        "shipment_deadline",
        sa.Column("shipment_id", sa.Uuid(), primary_key=True),
        sa.Column("deadline", sa.Text(), primary_key=True),
        sa.Column("result", sa.Text(), nullable=False, comment="in_time or late"),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Text(), nullable=False),
        sa.Column("count_time", sa.DateTime(timezone=True), nullable=False, comment=moment),
        sa.CheckConstraint(
            "deadline IN ('ship_by', 'delivery_day')", name=op.f("shipment_deadline_deadline_known_check")
        ),
        sa.CheckConstraint("result IN ('in_time', 'late')", name=op.f("shipment_deadline_result_known_check")),
        comment="Append-only: which of their times shipments kept. The first result of a shipment stands.",
    )
    op.create_index("shipment_deadline_time_idx", "shipment_deadline", ["count_time"])


def downgrade() -> None:
    op.drop_table("shipment_deadline")
