"""Order lines have the locations that may ship them, and the lines that they ship with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("only_location_ids", ARRAY(sa.Text), "the only locations that may ship it; null if any may"),
    ("not_location_ids", ARRAY(sa.Text), "locations that must not ship it; null if there are none"),
    ("keep_together", sa.Text, "lines of the order with the same group ship from one location"),
)


def upgrade() -> None:
    for name, type_, comment in _COLUMNS:
        op.add_column("order_line", sa.Column(name, type_, comment=comment))


def downgrade() -> None:
    for name, _, _ in _COLUMNS:
        op.drop_column("order_line", name)
