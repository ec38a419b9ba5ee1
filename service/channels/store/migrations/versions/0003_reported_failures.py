"""What the exception about an entity says, beside whether one is open."""

from __future__ import annotations

from alembic import op

from service.channels.store.schema import SCHEMA

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(f"ALTER TABLE {SCHEMA}.entities ADD COLUMN reported_failure text NOT NULL DEFAULT ''")


def downgrade() -> None:
    op.execute(f"ALTER TABLE {SCHEMA}.entities DROP COLUMN reported_failure")
