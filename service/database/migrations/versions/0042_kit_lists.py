"""Orders of a kit are listed by index; few orders have open shipments, so that they need no index of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

_OPEN = sa.text("state IN ('assigned', 'accepted', 'ready_for_pickup')")
_OF_KIT = sa.text("kit_sku IS NOT NULL")


def upgrade() -> None:
    op.drop_index("shipment_open_order_idx", "shipment")
    op.drop_index("order_line_kit_idx", "order_line")
    op.create_index("order_line_kit_idx", "order_line", ["kit_sku", "allocation_id"], postgresql_where=_OF_KIT)


def downgrade() -> None:
    op.drop_index("order_line_kit_idx", "order_line")
    op.create_index("order_line_kit_idx", "order_line", ["kit_sku"], postgresql_where=_OF_KIT)
    op.create_index("shipment_open_order_idx", "shipment", ["allocation_id"], postgresql_where=_OPEN)
