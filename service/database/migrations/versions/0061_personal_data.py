"""Remembers which orders hold personal data, so that it can be dropped once they are finished, or on request.

Orders from before may all hold some: a constant default needs no rewrite of the table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None

_HELD = "it or a decision of it tells more of a destination than country and region, or it is to be forgotten"


def upgrade() -> None:
    op.add_column(
        "allocation",
        sa.Column("holds_personal_data", sa.Boolean(), nullable=False, server_default=sa.true(), comment=_HELD),
    )
    op.alter_column("allocation", "holds_personal_data", server_default=sa.false())
    dropped = sa.Column("drop_time", sa.DateTime(timezone=True), comment="when its personal data were dropped last")
    op.add_column("allocation", dropped)
    forgotten = sa.Column(
        "forget_time", sa.DateTime(timezone=True), comment="when somebody asked to forget it; null if nobody did"
    )
    op.add_column("allocation", forgotten)
    op.create_index(
        "allocation_personal_data_idx", "allocation", ["id"], postgresql_where=sa.text("holds_personal_data")
    )
    op.create_index(
        "allocation_forget_idx",
        "allocation",
        ["id"],
        postgresql_where=sa.text("holds_personal_data AND forget_time IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("allocation_forget_idx", "allocation")
    op.drop_index("allocation_personal_data_idx", "allocation")
    for column in ("forget_time", "drop_time", "holds_personal_data"):
        op.drop_column("allocation", column)
