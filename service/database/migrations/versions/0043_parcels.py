"""Shipments have parcels, and orders the time by which their channel wants them to have shipped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    comment = "a JSON list of what its units left in; null if that is unknown"
    op.add_column("shipment", sa.Column("parcels", sa.Text, comment=comment))
    comment = "when its channel wants it to have shipped"
    op.add_column("allocation", sa.Column("ship_by_time", sa.TIMESTAMP(timezone=True), comment=comment))


def downgrade() -> None:
    op.drop_column("allocation", "ship_by_time")
    op.drop_column("shipment", "parcels")
