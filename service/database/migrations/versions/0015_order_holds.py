"""Sold orders may be on hold, and channels say how long an order may wait for payment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_MOMENT = postgresql.TIMESTAMP(timezone=True)
_COLUMNS = (
    ("hold_reason", sa.Text(), "why it was put on hold; null if it never was"),
    ("hold_until", _MOMENT, "when the hold is overdue; null if nobody said"),
    ("hold_time", _MOMENT, "when it was put on hold"),
    ("hold_release_time", _MOMENT, "when it was released; null while it is on hold"),
)
_CHECKS = (
    ("hold_whole", "(hold_reason IS NULL) = (hold_time IS NULL)"),
    ("only_holds_end", "hold_reason IS NOT NULL OR (hold_until IS NULL AND hold_release_time IS NULL)"),
)
_ON_HOLD = "state = 'confirmed' AND hold_time IS NOT NULL AND hold_release_time IS NULL"
_UNPAID = "how long an order may wait for payment; null if not stated"


def upgrade() -> None:
    for name, type_, comment in _COLUMNS:
        op.add_column("allocation", sa.Column(name, type_, nullable=True, comment=comment))
    for name, condition in _CHECKS:
        op.create_check_constraint(op.f(f"allocation_{name}_check"), "allocation", condition)
    op.create_index("allocation_on_hold_idx", "allocation", ["hold_time"], postgresql_where=sa.text(_ON_HOLD))
    op.add_column("channel", sa.Column("unpaid_order_seconds", sa.Integer(), nullable=True, comment=_UNPAID))


def downgrade() -> None:
    op.drop_column("channel", "unpaid_order_seconds")
    op.drop_index("allocation_on_hold_idx", "allocation")
    for name, _ in _CHECKS:
        op.drop_constraint(op.f(f"allocation_{name}_check"), "allocation")
    for name, _, _ in reversed(_COLUMNS):
        op.drop_column("allocation", name)
