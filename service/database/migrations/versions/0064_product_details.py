"""Adds images and attributes of products, for what channels require of their listings."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0064"
down_revision = "0063"
branch_labels = None
depends_on = None

_MAIN = "of the main image: the first of image_uris, if there are any"
_COLUMNS: dict[str, tuple[Any, str]] = {
    "image_uris": (sa.Text, "as stated; empty if only image_uri is"),
    "image_widths": (sa.Integer, "pixels; null if not stated"),
    "image_heights": (sa.Integer, "like image_widths"),
    "attribute_names": (sa.Text, "sorted"),
    "attribute_values": (sa.Text, "in the order of attribute_names"),
}
_CHECKS = {
    "images_whole": "cardinality(image_uris) = cardinality(image_widths)"
    " AND cardinality(image_uris) = cardinality(image_heights)",
    "attributes_whole": "cardinality(attribute_names) = cardinality(attribute_values)",
}


def upgrade() -> None:
    for name, (type_, comment) in _COLUMNS.items():
        column: sa.Column[list[object]] = sa.Column(
            name, ARRAY(type_), nullable=False, server_default="{}", comment=comment
        )
        op.add_column("product", column)
    for name, check in _CHECKS.items():
        op.create_check_constraint(op.f(f"product_{name}_check"), "product", check)
    op.alter_column("product", "image_uri", existing_type=sa.Text(), comment=_MAIN)


def _column(name: str, type_: Any, comment: str) -> sa.Column[list[object]]:
    return sa.Column(name, ARRAY(type_), nullable=False, server_default="{}", comment=comment)


def downgrade() -> None:
    op.alter_column("product", "image_uri", existing_type=sa.Text(), comment=None, existing_comment=_MAIN)
    for name in reversed(_CHECKS):
        op.drop_constraint(op.f(f"product_{name}_check"), "product")
    for name in reversed(_COLUMNS):
        op.drop_column("product", name)
