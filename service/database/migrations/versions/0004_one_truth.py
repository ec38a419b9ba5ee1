"""Feeds, transfers, the whole life of shipments, exceptions with a history, and what watchers need."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from service.database.tables import TransactionId

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_CHECKS = (
    ("product", "learnt_velocity_whole", "(learnt_velocity IS NULL) = (learnt_velocity_time IS NULL)"),
    ("promise", "not_returned_twice", "returned BETWEEN 0 AND shipped"),
    ("promise", "rejected_not_negative", "rejected >= 0"),
    ("exception", "a_settled_one_says_how", "(state = 'resolved') = (resolution IS NOT NULL)"),
)


def upgrade() -> None:
    op.create_table(
        "availability_told",
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("sellable", sa.Integer(), nullable=False),
        sa.Column("largest_single_order", sa.Integer(), nullable=False),
        sa.Column(
            "version", sa.BigInteger(), nullable=False, comment="rises with every other value, under the row's lock"
        ),
        sa.Column("tell_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("xid", TransactionId(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.PrimaryKeyConstraint("channel_id", "sku", name=op.f("availability_told_pkey")),
        comment="What a channel was last told of a product.",
    )
    op.create_index(op.f("availability_told_xid_idx"), "availability_told", ["xid"], unique=False)
    op.create_table(
        "decision_catalogue",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column(
            "content",
            sa.LargeBinary(),
            nullable=False,
            comment="truestock.v1.DecisionInputs with the channel and the locations alone",
        ),
        sa.Column(
            "use_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="renewed hourly while in use",
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("decision_catalogue_pkey")),
        comment="Catalogues that decisions were made in, each once.",
    )
    op.create_table(
        "early_cancellation",
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("line_id", sa.Text(), nullable=False),
        sa.Column("unit_count", sa.Integer(), nullable=True, comment="null is everything"),
        sa.Column("heard_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "cancel_time",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="by the channel's clock; contents that are not older have it in them",
        ),
        sa.Column(
            "apply_time",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="null while its order has not come",
        ),
        sa.PrimaryKeyConstraint("channel_id", "order_id", "event_id", "line_id", name=op.f("early_cancellation_pkey")),
        comment="Cancellations by their channel's own name, those that were heard before their order among them.",
    )
    op.create_index(
        "early_cancellation_waiting_idx",
        "early_cancellation",
        ["heard_time"],
        unique=False,
        postgresql_where=sa.text("apply_time IS NULL"),
    )
    op.create_table(
        "feed",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False, comment="owner or observer"),
        sa.Column("basis", sa.Text(), nullable=False, comment="on_hand or available"),
        sa.Column("open_orders", sa.Text(), nullable=False, comment="gross or net"),
        sa.Column("location_ids", postgresql.ARRAY(sa.Text()), nullable=False, comment="empty is all"),
        sa.Column("skus", postgresql.ARRAY(sa.Text()), nullable=False, comment="empty is all"),
        sa.Column("cadence_minutes", sa.Integer(), nullable=True, comment="null is never missed"),
        sa.Column("tolerance_units", sa.Integer(), nullable=False),
        sa.Column("heard_time", postgresql.TIMESTAMP(timezone=True), nullable=True),
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
        sa.PrimaryKeyConstraint("source", name=op.f("feed_pkey")),
        comment="What the numbers of each declared source of stock figures mean.",
    )
    op.create_table(
        "stock_effect",
        sa.Column("shipment_id", sa.Uuid(), nullable=False),
        sa.Column("line_id", sa.Text(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("unit_count", sa.Integer(), nullable=False),
        sa.Column(
            "create_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("shipment_id", "line_id", "effect", "event_id", name=op.f("stock_effect_pkey")),
        comment="Each effect of an event on a shipment's line, so that it happens once.",
    )
    op.create_table(
        "stock_incoming",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Text(), nullable=False),
        sa.Column("unit_count", sa.Integer(), nullable=False),
        sa.Column("expect_time", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("heard_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("unit_count >= 1", name=op.f("stock_incoming_something_to_come_check")),
        sa.PrimaryKeyConstraint("source", "reference", "sku", "location_id", name=op.f("stock_incoming_pkey")),
        comment="Units that are on their way to a location. Nothing of it is sellable.",
    )
    op.create_index("stock_incoming_level_idx", "stock_incoming", ["sku", "location_id"], unique=False)
    op.create_table(
        "stock_unavailable",
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("unit_count", sa.Integer(), nullable=False),
        sa.CheckConstraint("unit_count >= 0", name=op.f("stock_unavailable_not_negative_check")),
        sa.PrimaryKeyConstraint("sku", "location_id", "reason", name=op.f("stock_unavailable_pkey")),
        comment="The unavailable units of each level by reason. Changed only under the lock of its stock level.",
    )
    op.create_table(
        "transfer",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("from_location_id", sa.Text(), nullable=False),
        sa.Column("to_location_id", sa.Text(), nullable=False),
        sa.Column("expect_time", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("dispatch_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "settle_time",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="null while units are on their way",
        ),
        sa.CheckConstraint("from_location_id <> to_location_id", name=op.f("transfer_goes_somewhere_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("transfer_pkey")),
        comment="Stock on its way between two locations, which nobody can sell.",
    )
    op.create_index("transfer_dispatched_idx", "transfer", ["dispatch_time", "id"], unique=False)
    op.create_index(
        "transfer_open_idx",
        "transfer",
        ["to_location_id"],
        unique=False,
        postgresql_where=sa.text("settle_time IS NULL"),
    )
    op.create_table(
        "ledger_reader",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "horizon", TransactionId(), nullable=False, comment="every movement of a transaction below it has been read"
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("ledger_reader_pkey")),
        comment="How far what learns from the ledger in the background has read it.",
    )
    op.create_table(
        "allocation_copy",
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("allocation_id", sa.Uuid(), nullable=False),
        sa.Column(
            "states_contents",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="until the original comes",
        ),
        sa.Column(
            "channel_update_time",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="when the copy was last changed, by its own channel's clock",
        ),
        sa.ForeignKeyConstraint(["allocation_id"], ["allocation.id"], name=op.f("allocation_copy_allocation_id_fkey")),
        sa.PrimaryKeyConstraint("channel_id", "order_id", name=op.f("allocation_copy_pkey")),
        comment="Other names of an order, such as the Shopify copy of a TikTok order.",
    )
    op.create_index(op.f("allocation_copy_allocation_id_idx"), "allocation_copy", ["allocation_id"], unique=False)
    op.create_table(
        "transfer_line",
        sa.Column("transfer_id", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("dispatched", sa.Integer(), nullable=False),
        sa.Column(
            "received", sa.Integer(), server_default="0", nullable=False, comment="may be more than was dispatched"
        ),
        sa.CheckConstraint("dispatched >= 1", name=op.f("transfer_line_something_left_check")),
        sa.CheckConstraint("received >= 0", name=op.f("transfer_line_not_negative_check")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("transfer_line_transfer_id_fkey")),
        sa.PrimaryKeyConstraint("transfer_id", "sku", name=op.f("transfer_line_pkey")),
    )
    op.create_index("transfer_line_sku_idx", "transfer_line", ["sku"], unique=False)
    op.create_table(
        "exception_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("exception_id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False, comment="a person, or policy"),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("event_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("xid", TransactionId(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.ForeignKeyConstraint(["exception_id"], ["exception.id"], name=op.f("exception_event_exception_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("exception_event_pkey")),
    )
    op.create_index(op.f("exception_event_exception_id_idx"), "exception_event", ["exception_id"], unique=False)
    op.create_index(op.f("exception_event_xid_idx"), "exception_event", ["xid"], unique=False)
    op.add_column(
        "allocation",
        sa.Column(
            "channel_update_time",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="when the channel last changed the order, by the channel's clock",
        ),
    )
    op.add_column(
        "allocation",
        sa.Column("channel_status", sa.Text(), nullable=True, comment="the channel's own word for where it stands"),
    )
    op.add_column(
        "allocation",
        sa.Column(
            "version",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="rises with every change, under the row's lock",
        ),
    )
    op.add_column(
        "channel",
        sa.Column("platform", sa.Text(), nullable=True, comment="whose words its orders' channel_status speaks"),
    )
    op.add_column(
        "decision",
        sa.Column(
            "inputs",
            sa.LargeBinary(),
            nullable=True,
            comment="truestock.v1.DecisionInputs without the catalogue; null in a short record",
        ),
    )
    op.add_column("decision", sa.Column("catalogue_hash", sa.Text(), nullable=True))
    op.create_index(op.f("decision_create_time_idx"), "decision", ["create_time"], unique=False)
    op.add_column(
        "policy_set",
        sa.Column(
            "use_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="renewed hourly while in force",
        ),
    )
    op.create_table_comment(
        "policy_set",
        "Rule files that are in force or that a kept decision was made by, by the content hash of their set.",
        existing_comment="Every rule file that was ever in force, by the content hash of its set.",
    )
    op.add_column("exception", sa.Column("shipment_id", sa.Uuid(), nullable=True))
    op.add_column("exception", sa.Column("channel_id", sa.Text(), nullable=True))
    op.add_column("exception", sa.Column("sku", sa.Text(), nullable=True))
    op.add_column("exception", sa.Column("location_id", sa.Text(), nullable=True))
    op.add_column("exception", sa.Column("source", sa.Text(), nullable=True))
    op.add_column(
        "exception",
        sa.Column(
            "subject",
            sa.Text(),
            nullable=True,
            comment="what it is about, where it is raised once however often it is seen",
        ),
    )
    op.add_column(
        "exception",
        sa.Column(
            "update_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
    )
    op.add_column(
        "exception",
        sa.Column(
            "needs_person",
            sa.Boolean(),
            server_default=sa.true(),
            nullable=False,
            comment="false where policy alone settled it",
        ),
    )
    op.add_column("exception", sa.Column("assignee", sa.Text(), nullable=True))
    op.add_column(
        "exception",
        sa.Column(
            "escalate_time",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="when it went to whom it escalates",
        ),
    )
    op.add_column("exception", sa.Column("resolve_time", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("exception", sa.Column("resolution", sa.Text(), nullable=True))
    op.add_column("exception", sa.Column("resolved_by", sa.Text(), nullable=True))
    op.add_column("exception", sa.Column("note", sa.Text(), nullable=True))
    op.add_column("exception", sa.Column("repeat_count", sa.Integer(), server_default="0", nullable=False))
    op.add_column(
        "exception",
        sa.Column(
            "line_ids",
            postgresql.ARRAY(sa.Text()),
            nullable=True,
            comment="the lines of the order that it is about; null is all",
        ),
    )
    op.create_index("exception_page_idx", "exception", ["due_time", "id"], unique=False)
    op.create_index(
        "exception_shipment_idx",
        "exception",
        ["shipment_id"],
        unique=False,
        postgresql_where=sa.text("shipment_id IS NOT NULL"),
    )
    op.create_index(
        "allocation_unsettled_idx",
        "allocation",
        ["update_time"],
        unique=False,
        postgresql_where=sa.text("state = 'confirmed' AND outcome <> 'allocated'"),
    )
    op.alter_column("exception", "allocation_id", existing_type=sa.UUID(), nullable=True)
    op.create_index(
        "exception_due_idx", "exception", ["due_time", "id"], unique=False, postgresql_where=sa.text("state = 'open'")
    )
    op.create_index(
        "exception_once_idx",
        "exception",
        ["kind", "subject"],
        unique=True,
        postgresql_where=sa.text("state = 'open' AND subject <> ''"),
    )
    op.create_table_comment(
        "exception",
        "What a person or a policy must settle.",
        existing_comment="What a person must settle.",
        schema=None,
    )
    op.add_column("order_event", sa.Column("decision_id", sa.Uuid(), nullable=True))
    op.add_column(
        "order_event", sa.Column("xid", TransactionId(), server_default=sa.text("pg_current_xact_id()"), nullable=False)
    )
    op.create_index(op.f("order_event_xid_idx"), "order_event", ["xid"], unique=False)
    op.add_column(
        "product",
        sa.Column(
            "learnt_velocity",
            sa.Double(),
            nullable=True,
            comment="units a day as of learnt_velocity_time; it decays from there",
        ),
    )
    op.add_column("product", sa.Column("learnt_velocity_time", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.alter_column(
        "product",
        "velocity_per_day",
        existing_type=sa.DOUBLE_PRECISION(precision=53),
        comment="as planners state it",
        existing_nullable=True,
    )
    op.add_column("promise", sa.Column("shipped", sa.Integer(), server_default="0", nullable=False))
    op.add_column("promise", sa.Column("returned", sa.Integer(), server_default="0", nullable=False))
    op.add_column(
        "promise",
        sa.Column(
            "rejected", sa.Integer(), server_default="0", nullable=False, comment="the location could not supply them"
        ),
    )
    op.add_column(
        "shipment",
        sa.Column(
            "assign_time",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
    )
    op.add_column("shipment", sa.Column("accept_time", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("shipment", sa.Column("ship_time", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.add_column(
        "shipment",
        sa.Column("deliver_time", postgresql.TIMESTAMP(timezone=True), nullable=True, comment="delivered or collected"),
    )
    op.add_column(
        "shipment",
        sa.Column(
            "end_time",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="rejected, cancelled or not collected",
        ),
    )
    op.add_column("shipment", sa.Column("reject_reason", sa.Text(), nullable=True))
    op.add_column("shipment", sa.Column("ship_by_time", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.create_index("shipment_work_idx", "shipment", ["location_id", "state", "assign_time"], unique=False)
    op.create_index(
        "shipment_open_idx",
        "shipment",
        ["assign_time"],
        unique=False,
        postgresql_where=sa.text("state IN ('assigned', 'accepted', 'ready_for_pickup')"),
    )
    op.add_column(
        "shortage",
        sa.Column(
            "backordered",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="waits for stock, before anybody else",
        ),
    )
    op.create_index("shortage_waiting_idx", "shortage", ["sku"], unique=False, postgresql_where=sa.text("backordered"))
    _upgrade_quarantine()
    op.add_column("stock_level", sa.Column("counted_source", sa.Text(), nullable=True))
    op.add_column(
        "stock_level",
        sa.Column(
            "unavailable_time",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="effective time of the last accepted count that stated unavailable",
        ),
    )
    op.add_column(
        "stock_level",
        sa.Column("counted_sequence", sa.BigInteger(), nullable=True, comment="the source's own version of that count"),
    )
    op.add_column(
        "stock_level",
        sa.Column(
            "physical_count_time",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="when a person last counted",
        ),
    )
    op.add_column(
        "stock_level",
        sa.Column(
            "count_confidence",
            sa.Double(),
            nullable=True,
            comment="share of late counts and picks that found what was expected",
        ),
    )
    op.add_column(
        "stock_level",
        sa.Column(
            "tracked",
            sa.Boolean(),
            server_default=sa.true(),
            nullable=False,
            comment="false once its feed no longer knows it",
        ),
    )
    op.add_column(
        "stock_level",
        sa.Column(
            "version",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="rises with every change of the figures",
        ),
    )
    op.add_column("stock_movement", sa.Column("reason", sa.Text(), nullable=True))
    op.add_column(
        "stock_movement",
        sa.Column("xid", TransactionId(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
    )
    op.create_index("stock_movement_heard_idx", "stock_movement", ["heard_time", "id"], unique=False)
    op.create_index(
        "stock_movement_order_idx",
        "stock_movement",
        ["allocation_id"],
        unique=False,
        postgresql_where=sa.text("allocation_id IS NOT NULL"),
    )
    op.create_index(op.f("stock_movement_xid_idx"), "stock_movement", ["xid"], unique=False)
    op.add_column(
        "order_line",
        sa.Column(
            "oversold",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="units ever sold of it that were not there",
        ),
    )
    op.execute(
        "UPDATE order_line SET oversold = s.unit_count FROM shortage s WHERE s.kind = 'oversell' "
        "AND s.allocation_id = order_line.allocation_id AND s.line_id = order_line.line_id"
    )
    op.drop_constraint("shortage_pkey", "shortage")
    op.create_primary_key("shortage_pkey", "shortage", ["allocation_id", "line_id", "kind", "cause", "backordered"])
    for table, name, condition in _CHECKS:
        op.create_check_constraint(op.f(f"{table}_{name}_check"), table, condition)
    # What was unavailable before there were reasons has none of those that are named.
    op.execute(
        "INSERT INTO stock_unavailable (sku, location_id, reason, unit_count) "
        "SELECT sku, location_id, 'other', unavailable FROM stock_level WHERE unavailable > 0"
    )
    op.execute("UPDATE stock_movement SET reason = 'other' WHERE unavailable_delta <> 0")
    op.execute("UPDATE shipment SET assign_time = a.create_time FROM allocation a WHERE a.id = allocation_id")
    op.execute(
        "UPDATE exception SET channel_id = a.channel_id, update_time = exception.create_time "
        "FROM allocation a WHERE a.id = allocation_id"
    )
    op.execute(
        "INSERT INTO exception_event (id, exception_id, event, actor, description, event_time) "
        "SELECT gen_random_uuid(), id, 'raised', 'policy', description, create_time FROM exception"
    )


def _upgrade_quarantine() -> None:
    """What is kept aside says why and of when it is, so that it can be taken up in order once its cause is mended."""
    op.add_column("stock_quarantine", sa.Column("cause", sa.Text(), comment="says when it is worth another try"))
    op.add_column("stock_quarantine", sa.Column("effective_time", postgresql.TIMESTAMP(timezone=True)))
    op.execute(
        "UPDATE stock_quarantine SET effective_time = heard_time, cause = CASE "
        "WHEN reason LIKE 'no product%' OR reason LIKE 'no location%' THEN 'unmapped' "
        "WHEN reason LIKE 'counted %' THEN 'recount' WHEN reason LIKE 'it would %' THEN 'too_many' ELSE 'ahead' END"
    )
    for name in ("cause", "effective_time"):
        op.alter_column("stock_quarantine", name, nullable=False)
    op.create_index("stock_quarantine_sku_idx", "stock_quarantine", ["sku"], unique=False)
    op.create_index("stock_quarantine_location_idx", "stock_quarantine", ["location_id"], unique=False)


def downgrade() -> None:
    # An exception that is about no order has no place in the older tables.
    op.execute("DELETE FROM exception_event")
    op.execute("DELETE FROM exception WHERE allocation_id IS NULL")
    op.drop_constraint("shortage_pkey", "shortage")
    op.execute(
        "WITH gone AS (DELETE FROM shortage RETURNING *) INSERT INTO shortage "
        "SELECT allocation_id, line_id, kind, min(sku), sum(unit_count), min(cause), false "
        "FROM gone GROUP BY allocation_id, line_id, kind"
    )
    op.drop_column("order_line", "oversold")
    op.create_primary_key("shortage_pkey", "shortage", ["allocation_id", "line_id", "kind"])
    for table, name, _ in _CHECKS:
        op.drop_constraint(op.f(f"{table}_{name}_check"), table)
    op.drop_index(op.f("stock_movement_xid_idx"), table_name="stock_movement")
    op.drop_index(
        "stock_movement_order_idx",
        table_name="stock_movement",
        postgresql_where=sa.text("allocation_id IS NOT NULL"),
    )
    op.drop_index("stock_movement_heard_idx", table_name="stock_movement")
    op.drop_column("stock_movement", "xid")
    op.drop_column("stock_movement", "reason")
    op.drop_column("stock_level", "version")
    op.drop_column("stock_level", "tracked")
    op.drop_column("stock_level", "count_confidence")
    op.drop_column("stock_level", "physical_count_time")
    op.drop_column("stock_level", "counted_sequence")
    op.drop_column("stock_level", "counted_source")
    op.drop_column("stock_level", "unavailable_time")
    op.drop_index("stock_quarantine_location_idx", table_name="stock_quarantine")
    op.drop_index("stock_quarantine_sku_idx", table_name="stock_quarantine")
    op.drop_column("stock_quarantine", "effective_time")
    op.drop_column("stock_quarantine", "cause")
    op.drop_index("shortage_waiting_idx", table_name="shortage", postgresql_where=sa.text("backordered"))
    op.drop_column("shortage", "backordered")
    op.drop_index("shipment_open_idx", table_name="shipment")
    op.drop_index("shipment_work_idx", table_name="shipment")
    op.drop_column("shipment", "ship_by_time")
    op.drop_column("shipment", "reject_reason")
    op.drop_column("shipment", "end_time")
    op.drop_column("shipment", "deliver_time")
    op.drop_column("shipment", "ship_time")
    op.drop_column("shipment", "accept_time")
    op.drop_column("shipment", "assign_time")
    op.drop_column("promise", "rejected")
    op.drop_column("promise", "returned")
    op.drop_column("promise", "shipped")
    op.alter_column(
        "product",
        "velocity_per_day",
        existing_type=sa.DOUBLE_PRECISION(precision=53),
        comment=None,
        existing_comment="as planners state it",
        existing_nullable=True,
    )
    op.drop_column("product", "learnt_velocity_time")
    op.drop_column("product", "learnt_velocity")
    op.drop_index(op.f("order_event_xid_idx"), table_name="order_event")
    op.drop_column("order_event", "xid")
    op.drop_column("order_event", "decision_id")
    op.create_table_comment(
        "exception",
        "What a person must settle.",
        existing_comment="What a person or a policy must settle.",
        schema=None,
    )
    op.drop_index(
        "exception_once_idx", table_name="exception", postgresql_where=sa.text("state = 'open' AND subject <> ''")
    )
    op.drop_index("exception_due_idx", table_name="exception", postgresql_where=sa.text("state = 'open'"))
    op.alter_column("exception", "allocation_id", existing_type=sa.UUID(), nullable=False)
    op.drop_index("allocation_unsettled_idx", table_name="allocation")
    op.drop_index("exception_shipment_idx", table_name="exception")
    op.drop_index("exception_page_idx", table_name="exception")
    op.drop_column("exception", "line_ids")
    op.drop_column("exception", "repeat_count")
    op.drop_column("exception", "note")
    op.drop_column("exception", "resolved_by")
    op.drop_column("exception", "resolution")
    op.drop_column("exception", "resolve_time")
    op.drop_column("exception", "escalate_time")
    op.drop_column("exception", "assignee")
    op.drop_column("exception", "needs_person")
    op.drop_column("exception", "update_time")
    op.drop_column("exception", "subject")
    op.drop_column("exception", "source")
    op.drop_column("exception", "location_id")
    op.drop_column("exception", "sku")
    op.drop_column("exception", "channel_id")
    op.drop_column("exception", "shipment_id")
    op.create_table_comment(
        "policy_set",
        "Every rule file that was ever in force, by the content hash of its set.",
        existing_comment="Rule files that are in force or that a kept decision was made by, by the content hash of "
        "their set.",
    )
    op.drop_column("policy_set", "use_time")
    op.drop_index(op.f("decision_create_time_idx"), table_name="decision")
    op.drop_column("decision", "catalogue_hash")
    op.drop_column("decision", "inputs")
    op.drop_column("channel", "platform")
    op.drop_column("allocation", "version")
    op.drop_column("allocation", "channel_status")
    op.drop_column("allocation", "channel_update_time")
    op.drop_index(op.f("exception_event_xid_idx"), table_name="exception_event")
    op.drop_index(op.f("exception_event_exception_id_idx"), table_name="exception_event")
    op.drop_table("exception_event")
    op.drop_index("transfer_line_sku_idx", table_name="transfer_line")
    op.drop_table("transfer_line")
    op.drop_index(op.f("allocation_copy_allocation_id_idx"), table_name="allocation_copy")
    op.drop_table("allocation_copy")
    op.drop_index("transfer_open_idx", table_name="transfer", postgresql_where=sa.text("settle_time IS NULL"))
    op.drop_index("transfer_dispatched_idx", table_name="transfer")
    op.drop_table("transfer")
    op.drop_table("ledger_reader")
    op.drop_table("stock_unavailable")
    op.drop_index("stock_incoming_level_idx", table_name="stock_incoming")
    op.drop_table("stock_incoming")
    op.drop_table("stock_effect")
    op.drop_table("feed")
    op.drop_index(
        "early_cancellation_waiting_idx",
        table_name="early_cancellation",
        postgresql_where=sa.text("apply_time IS NULL"),
    )
    op.drop_table("early_cancellation")
    op.drop_table("decision_catalogue")
    op.drop_index(op.f("availability_told_xid_idx"), table_name="availability_told")
    op.drop_table("availability_told")
