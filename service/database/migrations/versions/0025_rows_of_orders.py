"""The parts of an order refer to it without foreign keys, which every new row would check again."""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

TABLES = ("order_line", "shipment", "promise", "shortage", "order_event")


def upgrade() -> None:
    for table in TABLES:
        op.drop_constraint(f"{table}_allocation_id_fkey", table)


def downgrade() -> None:
    for table in TABLES:
        op.create_foreign_key(f"{table}_allocation_id_fkey", table, "allocation", ["allocation_id"], ["id"])
