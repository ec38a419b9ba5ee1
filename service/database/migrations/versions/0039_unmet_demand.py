"""Unmet demand is recorded: what shoppers wanted and did not get."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "unmet_demand",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("demand_time", MOMENT, nullable=False),
        sa.Column(
            "kind",
            sa.Text,
            nullable=False,
            comment="hold_refused, hold_cut, availability, missed_sale or reported",
        ),
        sa.Column("channel_id", sa.Text, comment="null for a missed sale of a till that named none"),
        sa.Column("sku", sa.Text, nullable=False),
        sa.Column("wanted_count", sa.Integer, nullable=False),
        sa.Column("met_count", sa.Integer, nullable=False),
        sa.Column(
            "unmet_count",
            sa.Integer,
            nullable=False,
            comment="of the units not met, those that no earlier row of the same demand has",
        ),
        sa.Column(
            "call_count", sa.Integer, nullable=False, server_default="1", comment="calls that this row stands for"
        ),
        sa.Column("method", sa.Text),
        sa.Column("cause", sa.Text, nullable=False, comment="why the units were not there"),
        sa.Column("rules", sa.Text, comment="names of the rules that kept them"),
        sa.Column("policy_revision", sa.Text, comment="of the rules in force; null if no rule was asked"),
        sa.Column("location_id", sa.Text),
        sa.Column("order_id", sa.Text),
        sa.Column("allocation_id", sa.Uuid),
        sa.Column("line_id", sa.Text),
        sa.Column("event_id", sa.Text, comment="what the channel or till calls it; known once in each channel"),
        sa.CheckConstraint("met_count >= 0 AND wanted_count > met_count", name="unmet_demand_not_met_check"),
        sa.CheckConstraint(
            "unmet_count BETWEEN 0 AND wanted_count - met_count", name="unmet_demand_counted_once_check"
        ),
        sa.PrimaryKeyConstraint("id", name="unmet_demand_pkey"),
        comment="Append-only: units that shoppers wanted and did not get.",
    )
    op.create_index("unmet_demand_time_idx", "unmet_demand", ["demand_time", "id"])
    op.create_index("unmet_demand_sku_idx", "unmet_demand", ["sku", "demand_time", "id"])
    op.create_index("unmet_demand_channel_idx", "unmet_demand", ["channel_id", "demand_time", "id"])
    op.create_index(
        "unmet_demand_order_idx",
        "unmet_demand",
        ["allocation_id"],
        postgresql_where=sa.text("allocation_id IS NOT NULL"),
    )
    op.create_index(
        "unmet_demand_event_idx",
        "unmet_demand",
        [sa.text("coalesce(channel_id, '')"), "event_id"],
        unique=True,
        postgresql_where=sa.text("event_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("unmet_demand")
