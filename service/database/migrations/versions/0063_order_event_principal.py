"""Keeps who caused each event of an order. Of events of before it is not known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0063"
down_revision = "0062"
branch_labels = None
depends_on = None


def upgrade() -> None:
    comment = "whose call caused it; null for the service itself, and where it is not known"
    op.add_column("order_event", sa.Column("principal", sa.Text(), comment=comment))


def downgrade() -> None:
    op.drop_column("order_event", "principal")
