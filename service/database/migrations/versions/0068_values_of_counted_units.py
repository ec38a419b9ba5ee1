"""Keeps what oversold, withheld, cancelled and late units were worth, in the currency of their orders.

Reports cannot find it later: a cancelled line may be gone, and a late shipment may be planned again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0068"
down_revision = "0067"
branch_labels = None
depends_on = None


def upgrade() -> None:
    stated = "of its value and prices, ISO 4217; null if it states none"
    op.add_column("allocation", sa.Column("currency", sa.Text(), comment=stated))
    counted = "units with a price, of all of the kind that were counted with this row"
    op.add_column("order_count", sa.Column("priced_units", sa.Integer(), comment=counted))
    worth = "of these units; null if none has a price"
    op.add_column("order_count", sa.Column("value", sa.Numeric(), comment=worth))
    op.add_column("order_count", sa.Column("currency", sa.Text(), comment="of the value"))
    units = "units of a late shipment, when it was counted"
    op.add_column("shipment_deadline", sa.Column("unit_count", sa.Integer(), comment=units))
    op.add_column("shipment_deadline", sa.Column("priced_units", sa.Integer(), comment="of these, units with a price"))
    worth = "of the units with a price; null if there are none"
    op.add_column("shipment_deadline", sa.Column("value", sa.Numeric(), comment=worth))
    op.add_column("shipment_deadline", sa.Column("currency", sa.Text(), comment="of the value"))


def downgrade() -> None:
    for column in ("currency", "value", "priced_units", "unit_count"):
        op.drop_column("shipment_deadline", column)
    for column in ("currency", "value", "priced_units"):
        op.drop_column("order_count", column)
    op.drop_column("allocation", "currency")
