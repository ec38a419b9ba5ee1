"""Rewords the comments of tables and columns. It changes nothing else."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_COLUMNS = {
    ("product", "learned_velocity"): "units a day as of learned_velocity_time; it decays from there",
}


def upgrade() -> None:
    for (table, column), comment in _COLUMNS.items():
        quoted = comment.replace("'", "''")
        op.execute(text(f'COMMENT ON COLUMN "{table}"."{column}" IS \'{quoted}\''))


def downgrade() -> None:
    """The old wording is not restored: a comment has no effect."""
