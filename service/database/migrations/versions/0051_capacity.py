"""Locations may limit what they handle in a day or an hour; shipments take of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None

_LOCATION = {
    "orders_per_day": "the most that it handles; null is no limit, like the next three",
    "units_per_day": None,
    "orders_per_hour": None,
    "units_per_hour": None,
    "capacity_days_ahead": "up to how many days later it takes an order when it is full",
}


def upgrade() -> None:
    for name, comment in _LOCATION.items():
        op.add_column("location", sa.Column(name, sa.Integer(), comment=comment))
    op.add_column(
        "shipment",
        sa.Column("handling_day", sa.Date(), comment="of whose capacity it takes; null at a location without a limit"),
    )
    op.add_column(
        "shipment",
        sa.Column("handling_hour", sa.Integer(), comment="of that day; null where the location limits no hours"),
    )
    op.add_column("shipment", sa.Column("handling_units", sa.Integer(), comment="units that it takes"))
    op.create_table(
        "capacity_use",
        sa.Column("location_id", sa.Text(), primary_key=True),
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column(
            "hour",
            sa.Integer(),
            primary_key=True,
            comment="0 to 23 in the location's own time; -1 is the whole day",
        ),
        sa.Column("order_count", sa.Integer(), nullable=False, comment="shipments that are handled then"),
        sa.Column("unit_count", sa.Integer(), nullable=False),
        sa.CheckConstraint("order_count >= 0 AND unit_count >= 0", name="no_more_given_back_than_taken"),
        comment="What shipments have taken of the capacity of a location that states a limit.",
    )


def downgrade() -> None:
    op.drop_table("capacity_use")
    for name in ("handling_units", "handling_hour", "handling_day"):
        op.drop_column("shipment", name)
    for name in reversed(_LOCATION):
        op.drop_column("location", name)
