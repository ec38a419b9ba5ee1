"""Keeps what channels were told of each outlet, and names the outlet of an exception."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None

INDEX = "availability_history_outlets_idx"


def upgrade() -> None:
    told = "units by outlet, JSON, where they were sent too"
    op.add_column("availability_history", sa.Column("outlets", sa.Text(), comment=told))
    columns = ["channel_id", "sku", "publish_time"]
    op.create_index(INDEX, "availability_history", columns, postgresql_where=sa.text("outlets IS NOT NULL"))
    outlet = "the outlet of its channel that it is about"
    op.add_column("exception", sa.Column("outlet_id", sa.Text(), comment=outlet))


def downgrade() -> None:
    op.drop_column("exception", "outlet_id")
    op.drop_index(INDEX, "availability_history")
    op.drop_column("availability_history", "outlets")
