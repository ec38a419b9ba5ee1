"""Transfers from or to a location are found by an index."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_ENDS = ("from", "to")


def upgrade() -> None:
    for end in _ENDS:
        op.create_index(f"transfer_{end}_idx", "transfer", [f"{end}_location_id", "dispatch_time", "id"])


def downgrade() -> None:
    for end in _ENDS:
        op.drop_index(f"transfer_{end}_idx", "transfer")
