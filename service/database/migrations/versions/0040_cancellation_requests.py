"""Shoppers' requests to cancel, with their deadline, their answer, and what a channel does where nobody answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

_Time = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "cancellation_request",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("channel_id", sa.Text, nullable=False),
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("create_time", _Time, nullable=False),
        sa.Column("allocation_id", sa.Uuid, comment="null until its order arrives"),
        sa.Column("fault", sa.Text, comment="buyer, seller, carrier or fraud; null if nobody stated it"),
        sa.Column("reason", sa.Text, comment="as stated"),
        sa.Column("deadline", _Time, comment="when the channel's default applies; null is never"),
        sa.Column("state", sa.Text, nullable=False, comment="requested, accepted, declined or withdrawn"),
        sa.Column("unit_count", sa.Integer, nullable=False),
        sa.Column("cancelled", sa.Integer, nullable=False, comment="units that the answer cancelled"),
        sa.Column("answer_time", _Time),
        sa.Column("answered_by", sa.Text, comment="a person, policy or channel"),
        sa.Column("answer_reason", sa.Text),
        sa.Column("exception_id", sa.Uuid),
        sa.CheckConstraint(
            "(state = 'requested') = (answer_time IS NULL)", name="cancellation_request_answered_has_time"
        ),
        comment="Shoppers' requests to cancel, with their answers, also those that wait for their order.",
    )
    op.create_index(
        "cancellation_request_order_idx",
        "cancellation_request",
        ["order_id", "channel_id"],
        postgresql_where=sa.text("allocation_id IS NULL"),
    )
    op.create_index("cancellation_request_allocation_idx", "cancellation_request", ["allocation_id"])
    op.create_index(
        "cancellation_request_due_idx",
        "cancellation_request",
        ["deadline"],
        postgresql_where=sa.text("state = 'requested' AND allocation_id IS NOT NULL"),
    )
    op.create_table(
        "cancellation_request_line",
        sa.Column(
            "request_id", sa.Uuid, sa.ForeignKey("cancellation_request.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("line_id", sa.Text, primary_key=True),
        sa.Column("unit_count", sa.Integer, nullable=False),
        sa.CheckConstraint("unit_count >= 1", name="cancellation_request_line_unit_count_positive"),
        comment="The units of each line that a request is for; one without lines is for the whole order.",
    )
    op.add_column(
        "allocation",
        sa.Column("has_cancellation_requests", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.add_column(
        "order_cancellation",
        sa.Column(
            "is_request",
            sa.Boolean,
            nullable=False,
            server_default=sa.false(),
            comment="it cancels nothing: a cancellation_request waits for the order",
        ),
    )
    op.add_column(
        "channel",
        sa.Column("cancellation_default", sa.Text, comment="accept or decline; null is the default of its platform"),
    )


def downgrade() -> None:
    op.drop_column("channel", "cancellation_default")
    op.execute("DELETE FROM order_cancellation WHERE is_request")
    op.drop_column("order_cancellation", "is_request")
    op.drop_column("allocation", "has_cancellation_requests")
    op.drop_table("cancellation_request_line")
    op.drop_table("cancellation_request")
