"""Orders may name the last day on which they should be delivered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None


def upgrade() -> None:
    comment = "the last day on which it should be delivered, as it was asked for"
    op.add_column("allocation", sa.Column("deliver_by", sa.Date(), comment=comment))


def downgrade() -> None:
    op.drop_column("allocation", "deliver_by")
