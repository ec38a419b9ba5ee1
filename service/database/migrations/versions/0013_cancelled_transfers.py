"""A transfer can be cancelled: its units that were not received are at the origin again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_WENT_BACK = "units that were not received went back"
_AT_ORIGIN = "units at the origin again after a cancellation"


def upgrade() -> None:
    op.add_column(
        "transfer", sa.Column("cancelled", sa.Boolean(), server_default=sa.false(), nullable=False, comment=_WENT_BACK)
    )
    op.create_check_constraint(
        "transfer_cancelled_has_ended_check", "transfer", "complete_time IS NOT NULL OR NOT cancelled"
    )
    op.add_column(
        "transfer_line", sa.Column("returned", sa.Integer(), server_default="0", nullable=False, comment=_AT_ORIGIN)
    )
    op.create_check_constraint(
        "transfer_line_returned_within_dispatched_check",
        "transfer_line",
        "returned BETWEEN 0 AND greatest(0, dispatched - received)",
    )


def downgrade() -> None:
    op.drop_column("transfer_line", "returned")
    op.drop_column("transfer", "cancelled")
