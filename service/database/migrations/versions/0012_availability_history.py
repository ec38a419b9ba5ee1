"""Adds evidence for the causes of oversells: the history of what each channel was told, and the channel's lag."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Starts with the figure that was last published to each channel and product."""
    op.create_table(
        "availability_history",
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("publish_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("sellable", sa.BigInteger(), nullable=False),
        sa.Column("policy_revision", sa.Text(), nullable=False, comment="of the rules that decided"),
        sa.PrimaryKeyConstraint("channel_id", "sku", "publish_time", name=op.f("availability_history_pkey")),
        comment="Append-only: sellable units sent to each channel, as answers and on its watches.",
    )
    op.create_index("availability_history_time_idx", "availability_history", ["publish_time"])
    op.add_column(
        "channel",
        sa.Column(
            "figure_lag_seconds",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="until it shows a figure published to it",
        ),
    )
    op.execute(
        "INSERT INTO availability_history (channel_id, sku, publish_time, sellable, policy_revision) "
        "SELECT channel_id, sku, publish_time, sellable, '' FROM availability_published WHERE version > 0"
    )


def downgrade() -> None:
    """Removes the history and the lag."""
    op.drop_column("channel", "figure_lag_seconds")
    op.drop_index("availability_history_time_idx", table_name="availability_history")
    op.drop_table("availability_history")
