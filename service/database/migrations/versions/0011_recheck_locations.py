"""Shipments know the catalog that allowed their location, and locations the last edit that may forbid it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_CHECKED = "of the newest catalog in which its order was found to be allowed to use its location"
_RECHECK = (
    "catalog version of the last change after which orders may have to leave; shipments of an older one "
    "are checked again"
)


def upgrade() -> None:
    zero = sa.text("0")
    op.add_column(
        "shipment", sa.Column("catalog_version", sa.BigInteger(), server_default=zero, nullable=False, comment=_CHECKED)
    )
    op.add_column(
        "location", sa.Column("recheck_version", sa.BigInteger(), server_default=zero, nullable=False, comment=_RECHECK)
    )
    op.create_index(
        "shipment_recheck_idx",
        "shipment",
        ["location_id", "catalog_version"],
        postgresql_where=sa.text("state IN ('assigned', 'accepted', 'ready_for_pickup')"),
    )


def downgrade() -> None:
    op.drop_index("shipment_recheck_idx", "shipment")
    op.drop_column("location", "recheck_version")
    op.drop_column("shipment", "catalog_version")
