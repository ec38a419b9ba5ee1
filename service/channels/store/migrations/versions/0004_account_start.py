"""Since when connectors read an account: what left before is not theirs."""

from __future__ import annotations

from alembic import op

from service.channels.store.schema import SCHEMA

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(f"ALTER TABLE {SCHEMA}.accounts ADD COLUMN start_time timestamptz")
    # Accounts that are read already have taken what there was.
    op.execute(f"UPDATE {SCHEMA}.accounts SET start_time = connect_time")


def downgrade() -> None:
    op.execute(f"ALTER TABLE {SCHEMA}.accounts DROP COLUMN start_time")
