"""Orders know when they were last stated as sold and which older contents were ignored; no time lies far ahead."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_COLUMNS = {
    "sold_time": "latest time at which the channel stated it as sold, by the channel's clock",
    "ignored_time": "channel's time of the older contents that were ignored last",
}
# A stored time that lies ahead would hide every later message. Units cancelled for good have the time 9999-12-31.
_AHEAD = "BETWEEN clock_timestamp() + interval '5 minutes' AND '9999-12-30'"


def upgrade() -> None:
    for name, comment in _COLUMNS.items():
        op.add_column("allocation", sa.Column(name, postgresql.TIMESTAMP(timezone=True), comment=comment))
    for table in ("allocation", "allocation_copy"):
        op.execute(f"UPDATE {table} SET channel_update_time = NULL WHERE channel_update_time {_AHEAD}")
    op.execute(f"UPDATE order_cancellation SET cancel_time = NULL WHERE cancel_time {_AHEAD}")


def downgrade() -> None:
    for name in _COLUMNS:
        op.drop_column("allocation", name)
