"""Gives released, expired and cancelled orders an outcome of their own."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_CONSTRAINT = "allocation_ended_promises_nothing_check"
_ENDED = "state IN ('released', 'expired', 'cancelled')"


def upgrade() -> None:
    op.execute(f"UPDATE allocation SET outcome = 'ended' WHERE {_ENDED}")
    op.execute(f"ALTER TABLE allocation ADD CONSTRAINT {_CONSTRAINT} CHECK ((outcome = 'ended') = ({_ENDED}))")


def downgrade() -> None:
    op.execute(f"ALTER TABLE allocation DROP CONSTRAINT {_CONSTRAINT}")
    # Before, such an order kept the outcome of its last plan.
    op.execute(f"UPDATE allocation SET outcome = 'allocated' WHERE {_ENDED}")
