"""The first schema: catalogue, stock ledger, orders and decisions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "allocation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("commitment", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("postal_code", sa.Text(), nullable=True),
        sa.Column("latitude", sa.Double(), nullable=True),
        sa.Column("longitude", sa.Double(), nullable=True),
        sa.Column("pickup_location_id", sa.Text(), nullable=True),
        sa.Column("stated_value", sa.Numeric(precision=19, scale=4), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("expire_time", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("needs_person", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("decision_id", sa.Uuid(), nullable=True),
        sa.Column(
            "create_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "update_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("state <> 'held' OR expire_time IS NOT NULL", name=op.f("allocation_a_hold_expires_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("allocation_pkey")),
        sa.UniqueConstraint("channel_id", "order_id", name=op.f("allocation_channel_id_order_id_key")),
        comment="The one promise of each order. Its row is the order's lock.",
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        "allocation_expire_time_idx",
        "allocation",
        ["expire_time"],
        unique=False,
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_table(
        "catalogue_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("catalogue_version_one_row_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("catalogue_version_pkey")),
        comment="Rises with every edit of locations and channels, so that replicas know when theirs are old.",
    )
    op.create_table(
        "channel",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("location_ids", postgresql.ARRAY(sa.Text()), nullable=False, comment="empty is all"),
        sa.Column(
            "create_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "update_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("channel_pkey")),
    )
    op.create_table(
        "location",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("postal_code", sa.Text(), nullable=True),
        sa.Column("latitude", sa.Double(), nullable=True),
        sa.Column("longitude", sa.Double(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("offers_pickup", sa.Boolean(), nullable=False),
        sa.Column("handling_minutes", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=True),
        sa.Column(
            "ships_to", postgresql.ARRAY(sa.Text()), nullable=True, comment="null is everywhere, empty is nowhere"
        ),
        sa.Column(
            "create_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "update_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", name=op.f("location_coordinates_whole_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("location_pkey")),
    )
    op.create_table(
        "policy_set",
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column(
            "create_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("revision", "path", name=op.f("policy_set_pkey")),
        comment="Every rule file that was ever in force, by the content hash of its set.",
    )
    op.create_table(
        "product",
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("brand", sa.Text(), nullable=True),
        sa.Column("price", sa.Numeric(precision=19, scale=4), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("style", sa.Text(), nullable=True),
        sa.Column("barcode", sa.Text(), nullable=True),
        sa.Column("image_uri", sa.Text(), nullable=True),
        sa.Column("weight_grams", sa.Integer(), nullable=True),
        sa.Column("length_mm", sa.Integer(), nullable=True),
        sa.Column("width_mm", sa.Integer(), nullable=True),
        sa.Column("height_mm", sa.Integer(), nullable=True),
        sa.Column("velocity_per_day", sa.Double(), nullable=True),
        sa.Column(
            "create_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "update_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("(price IS NULL) = (currency IS NULL)", name=op.f("product_price_whole_check")),
        sa.PrimaryKeyConstraint("sku", name=op.f("product_pkey")),
    )
    op.create_table(
        "request",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column(
            "create_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("request_pkey")),
        comment="Requests that were carried out, so that a retry gets the stored answer.",
    )
    op.create_index(op.f("request_create_time_idx"), "request", ["create_time"], unique=False)
    op.create_table(
        "stock_movement",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("fate", sa.Text(), nullable=False),
        sa.Column("on_hand_delta", sa.Integer(), nullable=False),
        sa.Column("unavailable_delta", sa.Integer(), nullable=False),
        sa.Column("held_delta", sa.Integer(), nullable=False),
        sa.Column("allocated_delta", sa.Integer(), nullable=False),
        sa.Column("stated", sa.Integer(), nullable=True, comment="the number that the source said"),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("change_id", sa.Text(), nullable=True, comment="unique to the source; hearing it twice does nothing"),
        sa.Column("allocation_id", sa.Uuid(), nullable=True),
        sa.Column("line_id", sa.Text(), nullable=True),
        sa.Column("effective_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("heard_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("stock_movement_pkey")),
        sa.UniqueConstraint("source", "change_id", name=op.f("stock_movement_source_change_id_key")),
        comment="Append-only: every change of every figure, and why.",
    )
    op.create_index(
        "stock_movement_history_idx", "stock_movement", ["sku", "location_id", "effective_time"], unique=False
    )
    op.create_table(
        "stock_quarantine",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("change_id", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="the StockChange as it came"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("heard_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", "change_id", name=op.f("stock_quarantine_pkey")),
        comment="What could not be recorded, kept until the cause is mended.",
    )
    op.create_table(
        "decision",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("allocation_id", sa.Uuid(), nullable=False),
        sa.Column("policy_revision", sa.Text(), nullable=False),
        sa.Column("software_version", sa.Text(), nullable=False),
        sa.Column("explanation", sa.LargeBinary(), nullable=False, comment="truestock.v1.Decision"),
        sa.Column("create_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["allocation_id"], ["allocation.id"], name=op.f("decision_allocation_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("decision_pkey")),
    )
    op.create_index(op.f("decision_allocation_id_idx"), "decision", ["allocation_id"], unique=False)
    op.create_table(
        "exception",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("allocation_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("policy_revision", sa.Text(), nullable=False),
        sa.Column("create_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["allocation_id"], ["allocation.id"], name=op.f("exception_allocation_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("exception_pkey")),
        comment="What a person must settle.",
    )
    op.create_index(op.f("exception_allocation_id_idx"), "exception", ["allocation_id"], unique=False)
    op.create_table(
        "order_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("allocation_id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("policy_revision", sa.Text(), nullable=False),
        sa.Column("event_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["allocation_id"], ["allocation.id"], name=op.f("order_event_allocation_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("order_event_pkey")),
    )
    op.create_index(op.f("order_event_allocation_id_idx"), "order_event", ["allocation_id"], unique=False)
    op.create_table(
        "order_line",
        sa.Column("allocation_id", sa.Uuid(), nullable=False),
        sa.Column("line_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("unit_count", sa.Integer(), nullable=False),
        sa.Column("cancelled", sa.Integer(), server_default="0", nullable=False),
        sa.Column("unit_price", sa.Numeric(precision=19, scale=4), nullable=True),
        sa.CheckConstraint("cancelled BETWEEN 0 AND unit_count", name=op.f("order_line_not_cancelled_twice_check")),
        sa.CheckConstraint("unit_count >= 1", name=op.f("order_line_asks_for_something_check")),
        sa.ForeignKeyConstraint(["allocation_id"], ["allocation.id"], name=op.f("order_line_allocation_id_fkey")),
        sa.PrimaryKeyConstraint("allocation_id", "line_id", name=op.f("order_line_pkey")),
    )
    op.create_table(
        "promise",
        sa.Column("shipment_id", sa.Uuid(), nullable=False),
        sa.Column("line_id", sa.Text(), nullable=False),
        sa.Column("allocation_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, comment="held or allocated"),
        sa.Column("unit_count", sa.Integer(), nullable=False),
        sa.Column("expire_time", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'held') = (expire_time IS NOT NULL)", name=op.f("promise_only_holds_expire_check")
        ),
        sa.CheckConstraint("unit_count >= 0", name=op.f("promise_not_negative_check")),
        sa.ForeignKeyConstraint(["allocation_id"], ["allocation.id"], name=op.f("promise_allocation_id_fkey")),
        sa.PrimaryKeyConstraint("shipment_id", "line_id", name=op.f("promise_pkey")),
        comment="Units of one order line promised at one location. Changed only under the lock of its stock level.",
    )
    op.create_index(op.f("promise_allocation_id_idx"), "promise", ["allocation_id"], unique=False)
    op.create_index(
        "promise_expiring_idx",
        "promise",
        ["sku", "expire_time"],
        unique=False,
        postgresql_where=sa.text("state = 'held' AND unit_count > 0"),
    )
    op.create_table(
        "shipment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("allocation_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("location_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("distance_km", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["allocation_id"], ["allocation.id"], name=op.f("shipment_allocation_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("shipment_pkey")),
    )
    op.create_index(op.f("shipment_allocation_id_idx"), "shipment", ["allocation_id"], unique=False)
    op.create_table(
        "shortage",
        sa.Column("allocation_id", sa.Uuid(), nullable=False),
        sa.Column("line_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("unit_count", sa.Integer(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.CheckConstraint("unit_count >= 1", name=op.f("shortage_short_of_something_check")),
        sa.ForeignKeyConstraint(["allocation_id"], ["allocation.id"], name=op.f("shortage_allocation_id_fkey")),
        sa.PrimaryKeyConstraint("allocation_id", "line_id", "kind", name=op.f("shortage_pkey")),
    )
    op.create_table(
        "stock_level",
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Text(), nullable=False),
        sa.Column(
            "on_hand",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="below 0 where more left than was counted",
        ),
        sa.Column("unavailable", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "held",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="expired holds stay in it until they are swept",
        ),
        sa.Column("allocated", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "figure_time",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="when on_hand was last true at its source",
        ),
        sa.Column(
            "counted_time",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="effective time of the last accepted count, the anchor",
        ),
        sa.Column("counted_units", sa.Integer(), nullable=True, comment="the number of that count"),
        sa.Column("heard_time", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(counted_time IS NULL) = (counted_units IS NULL)", name=op.f("stock_level_anchor_whole_check")
        ),
        sa.CheckConstraint("allocated >= 0", name=op.f("stock_level_nothing_given_back_twice_allocated_check")),
        sa.CheckConstraint("held >= 0", name=op.f("stock_level_nothing_given_back_twice_held_check")),
        sa.CheckConstraint("unavailable >= 0", name=op.f("stock_level_unavailable_not_negative_check")),
        sa.ForeignKeyConstraint(["location_id"], ["location.id"], name=op.f("stock_level_location_id_fkey")),
        sa.ForeignKeyConstraint(["sku"], ["product.sku"], name=op.f("stock_level_sku_fkey")),
        sa.PrimaryKeyConstraint("sku", "location_id", name=op.f("stock_level_pkey")),
        comment="The running sum of stock_movement, changed in the same transaction.",
        postgresql_with={"fillfactor": "70"},
    )
    op.execute("INSERT INTO catalogue_version (id, version) VALUES (1, 0)")


def downgrade() -> None:
    op.drop_table("stock_level")
    op.drop_table("shortage")
    op.drop_index(op.f("shipment_allocation_id_idx"), table_name="shipment")
    op.drop_table("shipment")
    op.drop_index(
        "promise_expiring_idx", table_name="promise", postgresql_where=sa.text("state = 'held' AND unit_count > 0")
    )
    op.drop_index(op.f("promise_allocation_id_idx"), table_name="promise")
    op.drop_table("promise")
    op.drop_table("order_line")
    op.drop_index(op.f("order_event_allocation_id_idx"), table_name="order_event")
    op.drop_table("order_event")
    op.drop_index(op.f("exception_allocation_id_idx"), table_name="exception")
    op.drop_table("exception")
    op.drop_index(op.f("decision_allocation_id_idx"), table_name="decision")
    op.drop_table("decision")
    op.drop_table("stock_quarantine")
    op.drop_index("stock_movement_history_idx", table_name="stock_movement")
    op.drop_table("stock_movement")
    op.drop_index(op.f("request_create_time_idx"), table_name="request")
    op.drop_table("request")
    op.drop_table("product")
    op.drop_table("policy_set")
    op.drop_table("location")
    op.drop_table("channel")
    op.drop_table("catalogue_version")
    op.drop_index("allocation_expire_time_idx", table_name="allocation", postgresql_where=sa.text("state = 'held'"))
    op.drop_table("allocation")
