"""Effects of events keep when their units left, so that a shipping event can be taken back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_LEFT = "when units left, for the effect of a shipping event"
_ABSORBED = "whether a count included that already"


def upgrade() -> None:
    moment = sa.TIMESTAMP(timezone=True)
    op.add_column("stock_effect", sa.Column("effective_time", moment, nullable=True, comment=_LEFT))
    op.add_column(
        "stock_effect",
        sa.Column("is_absorbed", sa.Boolean(), server_default=sa.false(), nullable=False, comment=_ABSORBED),
    )


def downgrade() -> None:
    op.drop_column("stock_effect", "is_absorbed")
    op.drop_column("stock_effect", "effective_time")
