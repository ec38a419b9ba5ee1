"""Adds what is short because a buffer or a block keeps it: units of each line, and the rules of each shortage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns; earlier shortages name no rules."""
    op.add_column(
        "order_line",
        sa.Column(
            "withheld",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="units ever short because a buffer or block kept them",
        ),
    )
    op.add_column(
        "shortage",
        sa.Column(
            "rules",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="names of the rules that keep the units, joined by commas",
        ),
    )


def downgrade() -> None:
    """Removes the columns."""
    op.drop_column("shortage", "rules")
    op.drop_column("order_line", "withheld")
