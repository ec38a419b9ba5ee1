"""Channels state where their shoppers are, so that readiness can ask whether each of these markets is served."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0069"
down_revision = "0068"
branch_labels = None
depends_on = None


def upgrade() -> None:
    stated = "countries and regions of its shoppers; null or empty is unknown"
    op.add_column("channel", sa.Column("markets", postgresql.ARRAY(sa.Text()), comment=stated))


def downgrade() -> None:
    op.drop_column("channel", "markets")
