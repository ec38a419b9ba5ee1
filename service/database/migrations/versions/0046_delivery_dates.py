"""Shipments have a day of delivery, and the reasons why they do not ship or arrive earlier."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "shipment",
        sa.Column(
            "deliver_by_time",
            sa.DateTime(timezone=True),
            comment="the end of deliver_date by the clock of its location",
        ),
    )
    op.add_column("shipment", sa.Column("deliver_date", sa.Date()))
    op.add_column(
        "shipment",
        sa.Column("date_steps", sa.Text(), comment="a JSON list of the reasons why it does not ship or arrive earlier"),
    )


def downgrade() -> None:
    for name in ("date_steps", "deliver_date", "deliver_by_time"):
        op.drop_column("shipment", name)
