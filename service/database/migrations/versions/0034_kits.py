"""Kits, and lines of orders that are components of one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

_KIT = (
    ("kit_line_id", sa.Text(), "line on which the kit was ordered that this is a component of"),
    ("kit_sku", sa.Text(), "null if it was ordered by itself, like the other columns of kits"),
    ("kit_units", sa.Integer(), "units of this component in one kit"),
    ("kit_may_split", sa.Boolean(), "components of one kit may be shipped from several locations"),
)


def upgrade() -> None:
    now = sa.text("clock_timestamp()")
    op.create_table(
        "kit",
        sa.Column("sku", sa.Text(), primary_key=True),
        sa.Column("component_skus", ARRAY(sa.Text()), nullable=False, comment="in the retailer's order"),
        sa.Column(
            "component_units",
            ARRAY(sa.Integer()),
            nullable=False,
            comment="units in one kit, in the order of component_skus",
        ),
        sa.Column(
            "may_split",
            sa.Boolean(),
            nullable=False,
            comment="components of one kit may be shipped from several locations",
        ),
        sa.Column("create_time", TIMESTAMP(timezone=True), server_default=now, nullable=False),
        sa.Column("update_time", TIMESTAMP(timezone=True), server_default=now, nullable=False),
        sa.CheckConstraint(
            "cardinality(component_skus) = cardinality(component_units)", name=op.f("kit_components_whole_check")
        ),
        sa.CheckConstraint("cardinality(component_skus) >= 1", name=op.f("kit_components_present_check")),
        sa.CheckConstraint("NOT component_skus @> ARRAY[sku]", name=op.f("kit_no_kit_in_itself_check")),
        comment="Products that consist of other products.",
    )
    op.create_index("kit_component_skus_idx", "kit", ["component_skus"], postgresql_using="gin")
    op.add_column(
        "catalog_version",
        sa.Column(
            "kit_version",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="version of the last edit of a kit",
        ),
    )
    for name, type_, comment in _KIT:
        op.add_column("order_line", sa.Column(name, type_, comment=comment))
    op.create_check_constraint(
        op.f("order_line_kit_whole_check"),
        "order_line",
        "num_nulls(kit_line_id, kit_sku, kit_units, kit_may_split) IN (0, 4)",
    )
    op.create_index("order_line_kit_idx", "order_line", ["kit_sku"], postgresql_where=sa.text("kit_sku IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("order_line_kit_idx", "order_line")
    op.drop_constraint(op.f("order_line_kit_whole_check"), "order_line", type_="check")
    for name, _, _ in _KIT:
        op.drop_column("order_line", name)
    op.drop_column("catalog_version", "kit_version")
    op.drop_table("kit")
