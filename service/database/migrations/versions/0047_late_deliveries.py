"""Finds shipments that should have arrived."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    shipped = sa.text("state = 'shipped'")
    op.create_index("shipment_arrival_idx", "shipment", ["deliver_by_time", "id"], postgresql_where=shipped)


def downgrade() -> None:
    op.drop_index("shipment_arrival_idx", "shipment")
