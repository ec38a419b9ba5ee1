"""Shipped units are returned or refunded once: refunds without a return are counted on their shipment line."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Refunds were stored as effects of the kind of returns, and not counted: what exceeds the returned units are refunds.
# More units could be refunded than were shipped, so the figure is bounded.
_COUNT_REFUNDS = """
UPDATE promise SET refunded = least(shipped - returned, recorded.unit_count - returned)
FROM (SELECT shipment_id, line_id, sum(unit_count)::integer AS unit_count
      FROM stock_effect WHERE effect = 'returned' GROUP BY shipment_id, line_id) AS recorded
WHERE recorded.shipment_id = promise.shipment_id AND recorded.line_id = promise.line_id
  AND recorded.unit_count > returned
"""


_WITHIN_SHIPPED = "promise_returned_within_shipped_check"
_NOT_NEGATIVE = "promise_returned_not_negative_check"


def upgrade() -> None:
    comment = "shipped units refunded that have not come back"
    op.add_column("promise", sa.Column("refunded", sa.Integer(), server_default="0", nullable=False, comment=comment))
    op.execute(_COUNT_REFUNDS)
    op.drop_constraint(op.f(_WITHIN_SHIPPED), "promise", type_="check")
    op.create_check_constraint(op.f(_NOT_NEGATIVE), "promise", "returned >= 0 AND refunded >= 0")
    op.create_check_constraint(op.f(_WITHIN_SHIPPED), "promise", "returned + refunded <= shipped")


def downgrade() -> None:
    op.drop_constraint(op.f(_WITHIN_SHIPPED), "promise", type_="check")
    op.drop_constraint(op.f(_NOT_NEGATIVE), "promise", type_="check")
    op.drop_column("promise", "refunded")
    op.create_check_constraint(op.f(_WITHIN_SHIPPED), "promise", "returned BETWEEN 0 AND shipped")
