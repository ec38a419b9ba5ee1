"""Indexes of what is looked for every few seconds: entities that are not done, and exceptions that are open."""

from __future__ import annotations

from alembic import op

from service.channels.store.schema import SCHEMA

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(f"CREATE INDEX entities_open ON {SCHEMA}.entities (account, kind, state) WHERE state <> 'done'")
    op.execute(f"CREATE INDEX entities_reported ON {SCHEMA}.entities (account) WHERE is_reported")


def downgrade() -> None:
    op.execute(f"DROP INDEX {SCHEMA}.entities_reported")
    op.execute(f"DROP INDEX {SCHEMA}.entities_open")
