"""Tells shipments of pickup orders apart that go to the store or to the shopper, and which transfer carries one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None


def upgrade() -> None:
    way = "ship or transfer, where it is not the method of its order"
    op.add_column("shipment", sa.Column("method", sa.Text(), comment=way))
    op.add_column("transfer", sa.Column("allocation_id", sa.Uuid(), comment="the order that its units are sent for"))
    op.add_column("transfer", sa.Column("shipment_id", sa.Uuid(), comment="the shipment of that order"))
    whole = "(allocation_id IS NULL) = (shipment_id IS NULL)"
    op.create_check_constraint(op.f("transfer_for_an_order_whole_check"), "transfer", whole)


def downgrade() -> None:
    op.drop_constraint(op.f("transfer_for_an_order_whole_check"), "transfer", type_="check")
    op.drop_column("transfer", "shipment_id")
    op.drop_column("transfer", "allocation_id")
    op.drop_column("shipment", "method")
