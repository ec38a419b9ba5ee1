"""Lets services of an earlier version go on while a database is migrated.

`alembic_version` says since which schema versions may serve the database. An order that an earlier version records is
taken for one that holds personal data, because that version does not say; the next look at it finds out.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0065"
down_revision = "0064"
branch_labels = None
depends_on = None


def upgrade() -> None:
    since = "versions of this schema and of later ones may serve the database"
    op.add_column("alembic_version", sa.Column("serves_since", sa.Text(), comment=since))
    op.alter_column("allocation", "holds_personal_data", server_default=sa.true())


def downgrade() -> None:
    op.alter_column("allocation", "holds_personal_data", server_default=sa.false())
    op.drop_column("alembic_version", "serves_since")
