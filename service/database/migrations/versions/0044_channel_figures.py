"""What channels really show, beside what was published to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

_Time = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "channel_figure",
        sa.Column("channel_id", sa.Text, primary_key=True),
        sa.Column("sku", sa.Text, primary_key=True),
        sa.Column("item_id", sa.Text, primary_key=True),
        sa.Column("outlet_id", sa.Text, primary_key=True),
        sa.Column("first_time", _Time, primary_key=True),
        sa.Column("last_time", _Time, nullable=False, comment="when it was last observed"),
        sa.Column("shown", sa.BigInteger, nullable=False),
        sa.Column("unit_count", sa.Integer, nullable=False, comment="units of the SKU in one item"),
        comment="What channels show, from when to when it was observed; ids that they did not name are empty.",
    )
    op.create_index("channel_figure_time_idx", "channel_figure", ["last_time"])


def downgrade() -> None:
    op.drop_table("channel_figure")
