"""Published availability is a sum over locations, and may exceed 2,147,483,647 units."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_COLUMNS = ("sellable", "largest_single_order")


def upgrade() -> None:
    for column in _COLUMNS:
        op.alter_column("availability_published", column, type_=sa.BigInteger(), existing_nullable=False)


def downgrade() -> None:
    """Values that no longer fit become the largest one that does."""
    for column in _COLUMNS:
        op.alter_column(
            "availability_published",
            column,
            type_=sa.Integer(),
            existing_nullable=False,
            postgresql_using=f"least({column}, 2147483647)::integer",
        )
