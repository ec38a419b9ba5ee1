"""One of several services on a database reports its figures: the one that holds a lease."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("holder", sa.Uuid, nullable=False, comment="the service that has it"),
        sa.Column("expire_time", sa.TIMESTAMP(timezone=True), nullable=False, comment="another may take it after this"),
        sa.PrimaryKeyConstraint("name", name="lease_pkey"),
        comment="What one of several services does, until a time that it renews.",
    )


def downgrade() -> None:
    op.drop_table("lease")
