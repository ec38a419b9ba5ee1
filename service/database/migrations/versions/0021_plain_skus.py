"""Products are found by SKUs that differ by letter case, zeros at the front or a typo."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("product_plain_sku_idx", "product", [sa.text("lower(ltrim(sku, '0'))")])


def downgrade() -> None:
    op.drop_index("product_plain_sku_idx", "product")
