"""Says of each order what the coordinates of its destination are the middle of, if they were looked up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None


def upgrade() -> None:
    comment = "what the coordinates are the middle of; null if the order stated them"
    op.add_column("allocation", sa.Column("located_by", sa.Text(), nullable=True, comment=comment))


def downgrade() -> None:
    op.drop_column("allocation", "located_by")
