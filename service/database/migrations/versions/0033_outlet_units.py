"""The sellable units of outlets are published, and promises of open orders are found by product."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "availability_published",
        sa.Column(
            "outlets",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="sellable units by outlet, JSON; empty without outlets",
        ),
    )
    op.create_index("promise_open_idx", "promise", ["sku", "location_id"], postgresql_where=sa.text("unit_count > 0"))


def downgrade() -> None:
    op.drop_index("promise_open_idx", "promise")
    op.drop_column("availability_published", "outlets")
