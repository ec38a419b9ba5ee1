"""Lists of orders and shipments are read by index, in the order of the list."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_ON_HOLD = sa.text("state = 'confirmed' AND hold_time IS NOT NULL AND hold_release_time IS NULL")
_OPEN = sa.text("state IN ('assigned', 'accepted', 'ready_for_pickup')")


def upgrade() -> None:
    op.drop_constraint("allocation_channel_id_order_id_key", "allocation")
    op.create_unique_constraint("allocation_order_id_channel_id_key", "allocation", ["order_id", "channel_id"])
    op.create_index("allocation_state_idx", "allocation", ["channel_id", "state", "id"])
    op.create_index("allocation_needs_person_idx", "allocation", ["id"], postgresql_where=sa.text("needs_person"))
    op.drop_index("allocation_on_hold_idx", "allocation")
    op.create_index("allocation_on_hold_idx", "allocation", ["id"], postgresql_where=_ON_HOLD)
    op.create_index("shipment_location_idx", "shipment", ["location_id", "allocation_id"])
    op.drop_index("shipment_work_idx", "shipment")
    op.create_index("shipment_work_idx", "shipment", ["location_id", "state", "assign_time", "id"])
    op.drop_index("shipment_open_idx", "shipment")
    op.create_index("shipment_state_idx", "shipment", ["state", "assign_time", "id"])


def downgrade() -> None:
    op.drop_index("shipment_state_idx", "shipment")
    op.create_index("shipment_open_idx", "shipment", ["assign_time"], postgresql_where=_OPEN)
    op.drop_index("shipment_work_idx", "shipment")
    op.create_index("shipment_work_idx", "shipment", ["location_id", "state", "assign_time"])
    op.drop_index("shipment_location_idx", "shipment")
    op.drop_index("allocation_on_hold_idx", "allocation")
    op.create_index("allocation_on_hold_idx", "allocation", ["hold_time"], postgresql_where=_ON_HOLD)
    op.drop_index("allocation_needs_person_idx", "allocation")
    op.drop_index("allocation_state_idx", "allocation")
    op.drop_constraint("allocation_order_id_channel_id_key", "allocation")
    op.create_unique_constraint("allocation_channel_id_order_id_key", "allocation", ["channel_id", "order_id"])
