"""Keeps what is known of oversold units with their counts, so that reports say what would have avoided them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0057"
down_revision = "0056"
branch_labels = None
depends_on = None


def upgrade() -> None:
    kept = "truestock.v1.OversellRecord: evidence, stock and rules of oversold units"
    op.add_column("order_count", sa.Column("oversold", sa.LargeBinary(), comment=kept))


def downgrade() -> None:
    op.drop_column("order_count", "oversold")
