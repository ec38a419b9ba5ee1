"""Drops the index of unmet demand by channel: a retailer has few, so the index by time finds the rows of one as well.

Each refused HOLD paid for it.
"""

from __future__ import annotations

from alembic import op

revision = "0071"
down_revision = "0070"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("unmet_demand_channel_idx", "unmet_demand")


def downgrade() -> None:
    op.create_index("unmet_demand_channel_idx", "unmet_demand", ["channel_id", "demand_time", "id"])
