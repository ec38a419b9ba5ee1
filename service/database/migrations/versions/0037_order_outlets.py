"""Orders keep the outlet that their channel chose, with the locations that it had."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

_OPEN = "outlet_id IS NOT NULL AND state IN ('held', 'confirmed')"
_CHECK = "allocation_only_outlets_have_locations_check"


def upgrade() -> None:
    op.add_column("allocation", sa.Column("outlet_id", sa.Text(), comment="the outlet that its channel chose"))
    op.add_column(
        "allocation",
        sa.Column(
            "outlet_location_ids",
            postgresql.ARRAY(sa.Text()),
            comment="of the outlet when the order was taken; null while it is unknown",
        ),
    )
    op.create_check_constraint(op.f(_CHECK), "allocation", "outlet_id IS NOT NULL OR outlet_location_ids IS NULL")
    op.create_index(
        "allocation_outlet_idx", "allocation", ["channel_id", "outlet_id", "id"], postgresql_where=sa.text(_OPEN)
    )


def downgrade() -> None:
    op.drop_index("allocation_outlet_idx", "allocation")
    op.drop_constraint(op.f(_CHECK), "allocation")
    op.drop_column("allocation", "outlet_location_ids")
    op.drop_column("allocation", "outlet_id")
