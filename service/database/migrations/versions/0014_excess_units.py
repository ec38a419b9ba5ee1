"""Order lines keep how many of their shipped units the channel does not order any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_COMMENT = "shipped units that the channel does not order any more"
_WITHIN_UNIT_COUNT = "order_line_excess_within_unit_count_check"


def upgrade() -> None:
    op.add_column("order_line", sa.Column("excess", sa.Integer(), server_default="0", nullable=False, comment=_COMMENT))
    op.create_check_constraint(op.f(_WITHIN_UNIT_COUNT), "order_line", "excess BETWEEN 0 AND unit_count")


def downgrade() -> None:
    op.drop_constraint(op.f(_WITHIN_UNIT_COUNT), "order_line", type_="check")
    op.drop_column("order_line", "excess")
