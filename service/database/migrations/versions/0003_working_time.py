"""Locations have working time, and channels the share of cancellations that they still allow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OWN_CLOCK = "by the location's own clock, like opens and closes"
_EVERY_DAY = sa.text("'{0,1,2,3,4,5,6}'")
_ALLOWED = "share of the allowed cancellations that is left"


def upgrade() -> None:
    days = postgresql.ARRAY(sa.Integer())
    op.add_column("location", sa.Column("cut_off", sa.Time(), nullable=True, comment=_OWN_CLOCK))
    op.add_column(
        "location",
        sa.Column("opening_days", days, server_default=_EVERY_DAY, nullable=False, comment="Monday is 0"),
    )
    op.add_column("location", sa.Column("opens", sa.Time(), nullable=True))
    op.add_column("location", sa.Column("closes", sa.Time(), nullable=True))
    op.add_column(
        "location",
        sa.Column("holidays", postgresql.ARRAY(sa.Date()), server_default=sa.text("'{}'"), nullable=False),
    )
    op.add_column("channel", sa.Column("cancellation_headroom", sa.Double(), nullable=True, comment=_ALLOWED))


def downgrade() -> None:
    op.drop_column("channel", "cancellation_headroom")
    for column in ("holidays", "closes", "opens", "opening_days", "cut_off"):
        op.drop_column("location", column)
