"""Keeps what is counted of orders and of compared counts, so that reports of any time equal the counters.

Orders and counts of before are not counted: what the counters said then is not known.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None


def upgrade() -> None:
    sold = "units that it added to those sold; null if it sold none"
    op.add_column("order_event", sa.Column("sold_units", sa.Integer(), comment=sold))
    sale = "true if its order was sold by it; null otherwise"
    op.add_column("order_event", sa.Column("is_sale", sa.Boolean(), comment=sale))
    kind = "oversold, withheld, cancelled or needs_person; sold where no event has it"
    first = "the first of its kind for its order: the order counts too"
    cause = "cause or fault of the units, or why a person was needed"
    rules = "names of the rules that fired in the decision, and its routing policy"
    op.create_table(
        "order_count",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("count_time", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment=kind),
        sa.Column("cause", sa.Text(), nullable=False, comment=cause),
        sa.Column("unit_count", sa.Integer(), nullable=False),
        sa.Column("is_first", sa.Boolean(), nullable=False, comment=first),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("allocation_id", sa.Uuid(), nullable=False),
        sa.Column("policy_revision", sa.Text(), nullable=False),
        sa.Column("rules", ARRAY(sa.Text()), comment=rules),
        comment="Append-only: what counters count of sold orders besides sales, as it was counted.",
    )
    op.create_index("order_count_time_idx", "order_count", ["count_time"])
    exceeds = "the difference exceeds the tolerance that its feed had"
    op.create_table(
        "stock_comparison",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("count_time", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("difference", sa.Integer(), nullable=False, comment="counted units less those on hand"),
        sa.Column("is_mismatch", sa.Boolean(), nullable=False, comment=exceeds),
        comment="Append-only: counts that were only compared with on hand.",
    )
    op.create_index("stock_comparison_time_idx", "stock_comparison", ["count_time"])


def downgrade() -> None:
    op.drop_table("stock_comparison")
    op.drop_table("order_count")
    op.drop_column("order_event", "is_sale")
    op.drop_column("order_event", "sold_units")
