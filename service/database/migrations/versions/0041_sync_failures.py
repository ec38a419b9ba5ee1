"""Exceptions say what failed or differs within their kind, and may name an order that has not arrived."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("exception", sa.Column("sub_kind", sa.Text, comment="what failed or differs, within its kind"))
    op.add_column(
        "exception",
        sa.Column(
            "reported_order_id", sa.Text, comment="order of its channel that was reported and has not arrived yet"
        ),
    )
    op.create_index(
        "exception_reported_idx",
        "exception",
        ["reported_order_id"],
        postgresql_where=sa.text("reported_order_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("exception_reported_idx", "exception")
    op.drop_column("exception", "reported_order_id")
    op.drop_column("exception", "sub_kind")
