"""Locations have hours and a cut-off of each weekday, and may be closed on public holidays."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

_COMMENTS = {
    "weekday_cut_offs": "from Monday; null is cut_off; or empty",
    "weekday_opens": "like weekday_cut_offs",
    "weekday_closes": "like weekday_cut_offs",
}


def upgrade() -> None:
    times, none = postgresql.ARRAY(sa.Time()), sa.text("'{}'")
    for name, comment in _COMMENTS.items():
        op.add_column("location", sa.Column(name, times, server_default=none, nullable=False, comment=comment))
    op.add_column(
        "location",
        sa.Column("closed_on_public_holidays", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )


def downgrade() -> None:
    for name in ("closed_on_public_holidays", *reversed(_COMMENTS)):
        op.drop_column("location", name)
