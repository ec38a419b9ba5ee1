"""Requests to cancel name items of the channel, also before their order has arrived."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None

_TABLE = "cancellation_request_line"
_KEY = "cancellation_request_line_pkey"


def upgrade() -> None:
    item = sa.Column(
        "item_id", sa.Text, nullable=False, server_default="", comment="empty if it counts units or kits of a line"
    )
    op.add_column(_TABLE, item)
    op.drop_constraint(_KEY, _TABLE)
    op.create_primary_key(_KEY, _TABLE, ["request_id", "line_id", "item_id"])
    op.create_table_comment(
        _TABLE, "What a request is for, as the channel named it; one without lines is for the whole order."
    )


def downgrade() -> None:
    # Without its items a request would be for the whole order.
    op.execute(
        "DELETE FROM cancellation_request WHERE id IN "
        "(SELECT request_id FROM cancellation_request_line WHERE item_id <> '')"
    )
    op.drop_constraint(_KEY, _TABLE)
    op.drop_column(_TABLE, "item_id")
    op.create_primary_key(_KEY, _TABLE, ["request_id", "line_id"])
    op.create_table_comment(
        _TABLE, "The units of each line that a request is for; one without lines is for the whole order."
    )
