"""The tables of orders: allocations, shipments, shortages, events, exceptions and stored decisions.

Lines, shipments, promises, shortages and events have no foreign key to their order, which each new row would check:
they are written together with it or under its lock, and an order that has any of them is never deleted.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Date,
    Double,
    ForeignKey,
    FromClause,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    column,
    false,
    func,
    literal_column,
    select,
    text,
    true,
)

from service.database.columns import Moment, Money, Texts, key, metadata, required, timestamps, transaction_id

_OPEN = "state IN ('assigned', 'accepted', 'ready_for_pickup')"
"""The condition of the indexes of open shipments."""
_NEVER_DUE = "'9999-12-31 00:00:00+00'::timestamptz"
_DUE_TIME = f"coalesce(ship_by_time, {_NEVER_DUE})"


def number_indexes(table_name: str) -> list[Index]:
    """The indexes by which an order is found by the beginning of its number, and by its end, in any letter case."""
    number = column("order_id", Text)
    beginning, end = func.lower(number).label("number"), func.reverse(func.lower(number)).label("number")
    by_character = {"number": "text_pattern_ops"}
    return [
        Index(f"{table_name}_number_idx", beginning, postgresql_ops=by_character),
        Index(f"{table_name}_number_end_idx", end, postgresql_ops=by_character),
    ]


allocation = Table(
    "allocation",
    metadata,
    key("id", Uuid),
    required("channel_id", Text),
    required("order_id", Text),
    required("state", Text),
    required("outcome", Text),
    required("commitment", Text),
    required("method", Text),
    Column("country", Text),
    Column("region", Text),
    Column("postal_code", Text),
    Column("latitude", Double),
    Column("longitude", Double),
    Column("located_by", Text, comment="what the coordinates are the middle of; null if the order stated them"),
    Column("pickup_location_id", Text),
    Column("outlet_id", Text, comment="the outlet that its channel chose"),
    Column("outlet_location_ids", Texts, comment="of the outlet when the order was taken; null while it is unknown"),
    Column("stated_value", Money),
    Column("currency", Text, comment="of its value and prices, ISO 4217; null if it states none"),
    Column("priority", Integer, comment="as the channel states it; null is none, which is served like 0"),
    required("tags", Texts),
    Column("expire_time", Moment),
    required("needs_person", Boolean, server_default=false()),
    Column("decision_id", Uuid),
    Column("channel_update_time", Moment, comment="when the channel last changed the order, by the channel's clock"),
    Column("sold_time", Moment, comment="latest time at which the channel stated it as sold, by the channel's clock"),
    Column("ignored_time", Moment, comment="channel's time of the older contents that were ignored last"),
    Column("channel_status", Text, comment="order status in the channel's own word"),
    Column("ship_by_time", Moment, comment="when its channel wants it to have shipped"),
    Column("deliver_by", Date, comment="the last day on which it should be delivered, as it was asked for"),
    Column("hold_reason", Text, comment="why it was put on hold; null if it never was"),
    Column("hold_until", Moment, comment="when the hold is overdue; null if nobody said"),
    Column("hold_time", Moment, comment="when it was put on hold"),
    Column("hold_release_time", Moment, comment="when it was released; null while it is on hold"),
    required("has_cancellation_requests", Boolean, server_default=false()),
    required(
        "holds_personal_data",
        Boolean,
        # Of an order that a version from before this column records.
        server_default=true(),
        comment="it or a decision of it tells more of a destination than country and region, or it is to be forgotten",
    ),
    Column("drop_time", Moment, comment="when its personal data were dropped last"),
    Column("forget_time", Moment, comment="when somebody asked to forget it; null if nobody did"),
    required("version", BigInteger, server_default="0", comment="rises with every change, set under the row's lock"),
    *timestamps(),
    UniqueConstraint("order_id", "channel_id"),
    *number_indexes("allocation"),
    CheckConstraint("state <> 'held' OR expire_time IS NOT NULL", name="a_hold_expires"),
    CheckConstraint(
        "(outcome = 'ended') = (state IN ('released', 'expired', 'cancelled'))", name="ended_promises_nothing"
    ),
    CheckConstraint("outlet_id IS NOT NULL OR outlet_location_ids IS NULL", name="only_outlets_have_locations"),
    CheckConstraint("(hold_reason IS NULL) = (hold_time IS NULL)", name="hold_whole"),
    CheckConstraint(
        "hold_reason IS NOT NULL OR (hold_until IS NULL AND hold_release_time IS NULL)", name="only_holds_end"
    ),
    Index("allocation_expire_time_idx", "expire_time", postgresql_where=text("state = 'held'")),
    Index(
        "allocation_incomplete_idx",
        "update_time",
        postgresql_where=text("state = 'confirmed' AND outcome <> 'allocated'"),
    ),
    Index("allocation_state_idx", "channel_id", "state", "id"),
    Index("allocation_outcome_idx", "outcome", "id", postgresql_where=text("outcome NOT IN ('allocated', 'ended')")),
    Index(
        "allocation_outlet_idx",
        "channel_id",
        "outlet_id",
        "id",
        postgresql_where=text("outlet_id IS NOT NULL AND state IN ('held', 'confirmed')"),
    ),
    Index("allocation_personal_data_idx", "id", postgresql_where=text("holds_personal_data")),
    Index("allocation_forget_idx", "id", postgresql_where=text("holds_personal_data AND forget_time IS NOT NULL")),
    Index("allocation_needs_person_idx", "id", postgresql_where=text("needs_person")),
    Index(
        "allocation_on_hold_idx",
        "id",
        postgresql_where=text("state = 'confirmed' AND hold_time IS NOT NULL AND hold_release_time IS NULL"),
    ),
    postgresql_with={"fillfactor": "80"},
    comment="The one allocation of each order. Its row is the lock of the order.",
)

allocation_copy = Table(
    "allocation_copy",
    metadata,
    key("channel_id"),
    key("order_id"),
    Column("allocation_id", Uuid, ForeignKey("allocation.id"), nullable=False, index=True),
    required("provides_contents", Boolean, server_default=false(), comment="true until the original order arrives"),
    Column("channel_update_time", Moment, comment="when the copy was last changed, by its own channel's clock"),
    *number_indexes("allocation_copy"),
    comment="Copies of an order under other order numbers, such as the Shopify copy of a TikTok order.",
)

order_cancellation = Table(
    "order_cancellation",
    metadata,
    key("channel_id"),
    key("order_id"),
    key("event_id"),
    key("line_id"),
    Column("unit_count", Integer, comment="null cancels everything that has not shipped"),
    Column("item_id", Text, comment="unit_count is of this item; null if it is of units"),
    required("ingest_time", Moment),
    Column("cancel_time", Moment, comment="by the channel's clock; contents of that time or later already include it"),
    Column("apply_time", Moment, comment="null until its order arrives"),
    Column("fault", Text, comment="buyer, seller, carrier or fraud; null if nobody stated it"),
    Column("reason", Text, comment="as stated"),
    required(
        "is_request",
        Boolean,
        server_default=false(),
        comment="it cancels nothing: a cancellation_request waits for the order",
    ),
    Index("order_cancellation_waiting_idx", "ingest_time", postgresql_where=text("apply_time IS NULL")),
    comment="Cancellations by the channel's event id, including those that arrived before their order.",
)

cancellation_request = Table(
    "cancellation_request",
    metadata,
    key("id", Uuid),
    required("channel_id", Text),
    required("order_id", Text),
    required("event_id", Text),
    required("create_time", Moment),
    Column("allocation_id", Uuid, comment="null until its order arrives"),
    Column("fault", Text, comment="buyer, seller, carrier or fraud; null if nobody stated it"),
    Column("reason", Text, comment="as stated"),
    Column("deadline", Moment, comment="when the channel's default applies; null is never"),
    required("state", Text, comment="requested, accepted, declined or withdrawn"),
    required("unit_count", Integer),
    required("cancelled", Integer, comment="units that the answer cancelled"),
    Column("answer_time", Moment),
    Column("answered_by", Text, comment="a person, policy or channel"),
    Column("answer_reason", Text),
    Column("exception_id", Uuid),
    CheckConstraint("(state = 'requested') = (answer_time IS NULL)", name="answered_has_time"),
    Index("cancellation_request_order_idx", "order_id", "channel_id", postgresql_where=text("allocation_id IS NULL")),
    Index("cancellation_request_allocation_idx", "allocation_id"),
    Index(
        "cancellation_request_due_idx",
        "deadline",
        postgresql_where=text("state = 'requested' AND allocation_id IS NOT NULL"),
    ),
    comment="Shoppers' requests to cancel, with their answers, also those that wait for their order.",
)

cancellation_request_line = Table(
    "cancellation_request_line",
    metadata,
    Column("request_id", Uuid, ForeignKey("cancellation_request.id", ondelete="CASCADE"), primary_key=True),
    key("line_id"),
    Column("item_id", Text, primary_key=True, server_default="", comment="empty if it counts units or kits of a line"),
    required("unit_count", Integer),
    CheckConstraint("unit_count >= 1", name="unit_count_positive"),
    comment="What a request is for, as the channel named it; one without lines is for the whole order.",
)

order_line = Table(
    "order_line",
    metadata,
    Column("allocation_id", Uuid, primary_key=True),
    key("line_id"),
    required("position", Integer),
    required("sku", Text),
    required("unit_count", Integer),
    required("cancelled", Integer, server_default="0"),
    required("oversold", Integer, server_default="0", comment="units sold that were not in stock, ever"),
    required("withheld", Integer, server_default="0", comment="units ever short because a buffer or block kept them"),
    required("excess", Integer, server_default="0", comment="shipped units that the channel does not order any more"),
    Column("unit_price", Money, comment="of an item, if the line names one"),
    Column("item_id", Text, comment="the channel's item that was ordered; null if the line names a SKU"),
    Column("item_count", Integer, comment="how many items were ordered"),
    Column("item_units", Integer, comment="units in each item; 0 while no listing maps it, and the SKU is empty"),
    CheckConstraint("(item_id IS NULL) = (item_count IS NULL)", name="item_counted"),
    CheckConstraint("(item_id IS NULL) = (item_units IS NULL)", name="item_whole"),
    Index("order_line_item_idx", "item_id", "allocation_id", postgresql_where=text("item_id IS NOT NULL")),
    Index("order_line_unmapped_idx", "item_id", postgresql_where=text("item_units = 0")),
    Column("kit_line_id", Text, comment="line on which the kit was ordered that this is a component of"),
    Column("kit_sku", Text, comment="null if it was ordered by itself, like the other columns of kits"),
    Column("kit_units", Integer, comment="units of this component in one kit"),
    Column("kit_may_split", Boolean, comment="components of one kit may be shipped from several locations"),
    CheckConstraint("num_nulls(kit_line_id, kit_sku, kit_units, kit_may_split) IN (0, 4)", name="kit_whole"),
    # Finds the orders that use a kit.
    Index("order_line_kit_idx", "kit_sku", "allocation_id", postgresql_where=text("kit_sku IS NOT NULL")),
    Column("only_location_ids", Texts, comment="the only locations that may ship it; null if any may"),
    Column("not_location_ids", Texts, comment="locations that must not ship it; null if there are none"),
    Column("keep_together", Text, comment="lines of the order with the same group ship from one location"),
    CheckConstraint("excess BETWEEN 0 AND unit_count", name="excess_within_unit_count"),
    CheckConstraint("unit_count >= 1", name="unit_count_positive"),
    CheckConstraint("cancelled BETWEEN 0 AND unit_count", name="cancelled_within_unit_count"),
    Index("order_line_sku_idx", "sku", "allocation_id"),
)

shipment = Table(
    "shipment",
    metadata,
    key("id", Uuid),
    Column("allocation_id", Uuid, nullable=False, index=True),
    required("position", Integer),
    required("location_id", Text),
    required("state", Text),
    Column("method", Text, comment="ship or transfer, where it is not the method of its order"),
    Column("distance_km", Double),
    required("assign_time", Moment, server_default=text("clock_timestamp()")),
    Column("accept_time", Moment),
    Column("ship_time", Moment),
    Column("deliver_time", Moment, comment="when delivered or collected"),
    Column("end_time", Moment, comment="when rejected, cancelled or not collected"),
    Column("reject_reason", Text),
    Column("ship_by_time", Moment),
    Column("deliver_by_time", Moment, comment="the end of deliver_date by the clock of its location"),
    Column("deliver_date", Date),
    Column("date_steps", Text, comment="a JSON list of the reasons why it does not ship or arrive earlier"),
    Column("handling_day", Date, comment="of whose capacity it takes; null at a location without a limit"),
    Column("handling_hour", Integer, comment="of that day; null where the location limits no hours"),
    Column("handling_units", Integer, comment="units that it takes"),
    Column("parcels", Text, comment="a JSON list of what its units left in; null if that is unknown"),
    required(
        "catalog_version",
        BigInteger,
        server_default="0",
        comment="of the newest catalog in which its order was found to be allowed to use its location",
    ),
    Index("shipment_location_idx", "location_id", "allocation_id"),
    Index("shipment_work_idx", "location_id", "state", "assign_time", "id"),
    Index("shipment_state_idx", "state", "assign_time", "id"),
    Index("shipment_recheck_idx", "location_id", "catalog_version", postgresql_where=text(_OPEN)),
    Index("shipment_arrival_idx", "deliver_by_time", "id", postgresql_where=text("state = 'shipped'")),
    Index("shipment_due_idx", text(_DUE_TIME), "id", postgresql_where=text(_OPEN)),
    Index("shipment_due_here_idx", "location_id", text(_DUE_TIME), "id", postgresql_where=text(_OPEN)),
)

shipment_deadline = Table(
    "shipment_deadline",
    metadata,
    key("shipment_id", Uuid),
    key("deadline"),
    required("result", Text, comment="in_time or late"),
    required("channel_id", Text),
    required("location_id", Text),
    required("count_time", Moment, comment="when it was counted: when it shipped or arrived, or when its time passed"),
    CheckConstraint("deadline IN ('ship_by', 'delivery_day')", name="deadline_known"),
    CheckConstraint("result IN ('in_time', 'late')", name="result_known"),
    Column("unit_count", Integer, comment="units of a late shipment, when it was counted"),
    Column("priced_units", Integer, comment="of these, units with a price"),
    Column("value", Numeric, comment="of the units with a price; null if there are none"),
    Column("currency", Text, comment="of the value"),
    Index("shipment_deadline_time_idx", "count_time"),
    comment="Append-only: which of their times shipments kept. The first result of a shipment stands.",
)

promise = Table(
    "promise",
    metadata,
    key("shipment_id", Uuid),
    key("line_id"),
    Column("allocation_id", Uuid, nullable=False, index=True),
    required("sku", Text),
    required("location_id", Text),
    required("state", Text, comment="held or allocated"),
    required("unit_count", Integer),
    Column("expire_time", Moment),
    required("shipped", Integer, server_default="0"),
    required("returned", Integer, server_default="0"),
    required("rejected", Integer, server_default="0", comment="units that the location could not supply"),
    required("refunded", Integer, server_default="0", comment="shipped units refunded that have not come back"),
    CheckConstraint("unit_count >= 0", name="not_negative"),
    CheckConstraint("returned >= 0 AND refunded >= 0", name="returned_not_negative"),
    CheckConstraint("returned + refunded <= shipped", name="returned_within_shipped"),
    CheckConstraint("rejected >= 0", name="rejected_not_negative"),
    CheckConstraint("(state = 'held') = (expire_time IS NOT NULL)", name="only_holds_expire"),
    Index("promise_open_idx", "sku", "location_id", postgresql_where=text("unit_count > 0")),
    Index("promise_expiring_idx", "sku", "expire_time", postgresql_where=text("state = 'held' AND unit_count > 0")),
    comment="Units of one order line promised at one location. Changed only under the lock of its stock level.",
)

shortage = Table(
    "shortage",
    metadata,
    Column("allocation_id", Uuid, primary_key=True),
    key("line_id"),
    key("kind"),
    key("cause"),
    Column(
        "backordered",
        Boolean,
        primary_key=True,
        server_default=false(),
        comment="true if the units wait for stock; they are filled before new orders",
    ),
    required("sku", Text),
    required("unit_count", Integer),
    required("rules", Text, server_default="", comment="names of the rules that keep the units, joined by commas"),
    CheckConstraint("unit_count >= 1", name="unit_count_positive"),
    Index("shortage_waiting_idx", "sku", postgresql_where=text("backordered")),
)

stock_effect = Table(
    "stock_effect",
    metadata,
    key("shipment_id", Uuid),
    key("line_id"),
    key("effect"),
    key("event_id"),
    required("unit_count", Integer),
    required("create_time", Moment, server_default=text("clock_timestamp()")),
    Column("effective_time", Moment, comment="when units left, for the effect of a shipping event"),
    required("is_absorbed", Boolean, server_default=false(), comment="whether a count included that already"),
    comment="Effects of events on shipment lines, so that a repeated event has no second effect.",
)

order_event = Table(
    "order_event",
    metadata,
    key("id", Uuid),
    Column("allocation_id", Uuid, nullable=False, index=True),
    required("event", Text),
    required("description", Text),
    required("policy_revision", Text),
    required("event_time", Moment),
    Column("decision_id", Uuid),
    Column("cancelled", Integer, comment="units that it cancelled; null if it cancelled none"),
    Column("fault", Text, comment="who caused the cancellation: buyer, seller, carrier or fraud; null if unknown"),
    Column("cancel_reason", Text, comment="why the units were cancelled, as stated"),
    Column("sold_units", Integer, comment="units that it added to those sold; null if it sold none"),
    Column("is_sale", Boolean, comment="true if its order was sold by it; null otherwise"),
    Column("principal", Text, comment="whose call caused it; null for the service itself, and where it is not known"),
    transaction_id(),
)

exception = Table(
    "exception",
    metadata,
    key("id", Uuid),
    Column("allocation_id", Uuid, ForeignKey("allocation.id"), index=True),
    Column("shipment_id", Uuid),
    Column("channel_id", Text),
    Column("sku", Text),
    Column("location_id", Text),
    Column("source", Text),
    Column(
        "subject", Text, comment="what it is about; one exception is open per kind and subject, however often it recurs"
    ),
    Column("line_ids", Texts, comment="the order lines that it is about; null is all"),
    required("kind", Text),
    required("state", Text),
    required("description", Text),
    required("policy_revision", Text),
    required("create_time", Moment),
    required("update_time", Moment, server_default=text("clock_timestamp()")),
    required("needs_person", Boolean, server_default=true(), comment="false if policy alone resolved it"),
    Column("assignee", Text),
    Column("escalate_time", Moment, comment="when it was escalated"),
    Column("resolve_time", Moment),
    Column("resolution", Text),
    Column("resolved_by", Text),
    Column("note", Text),
    required("repeat_count", Integer, server_default="0"),
    Column("sub_kind", Text, comment="what failed or differs, within its kind"),
    Column("reported_order_id", Text, comment="order of its channel that was reported and has not arrived yet"),
    Column("outlet_id", Text, comment="the outlet of its channel that it is about"),
    required("owner", Text),
    required("due_time", Moment),
    Column("escalate_to", Text, comment="who gets it when it is overdue; null is nobody"),
    required("action", Text),
    required("rule", Text, comment="the exception rule that decided, with file and line"),
    CheckConstraint("(state = 'resolved') = (resolution IS NOT NULL)", name="resolved_has_resolution"),
    Index("exception_due_idx", "due_time", "id", postgresql_where=text("state = 'open'")),
    Index("exception_page_idx", "due_time", "id"),
    Index("exception_open_idx", "id", postgresql_where=text("state = 'open'")),
    Index("exception_owner_idx", "owner", "state"),
    Index("exception_kind_idx", "kind", "state"),
    Index("exception_channel_idx", "channel_id", "state", postgresql_where=text("channel_id IS NOT NULL")),
    Index("exception_assignee_idx", "assignee", "state", postgresql_where=text("assignee IS NOT NULL")),
    Index("exception_sku_idx", "sku", "state", postgresql_where=text("sku IS NOT NULL")),
    Index("exception_location_idx", "location_id", "state", postgresql_where=text("location_id IS NOT NULL")),
    Index("exception_reported_idx", "reported_order_id", postgresql_where=text("reported_order_id IS NOT NULL")),
    Index("exception_shipment_idx", "shipment_id", postgresql_where=text("shipment_id IS NOT NULL")),
    Index(
        "exception_once_idx", "kind", "subject", unique=True, postgresql_where=text("state = 'open' AND subject <> ''")
    ),
    comment="Exceptions: what a person or a policy must resolve.",
)

exception_event = Table(
    "exception_event",
    metadata,
    key("id", Uuid),
    Column("exception_id", Uuid, ForeignKey("exception.id"), nullable=False, index=True),
    required("event", Text),
    required("actor", Text, comment="a person, or policy"),
    required("description", Text),
    required("event_time", Moment),
    transaction_id(),
)

decision = Table(
    "decision",
    metadata,
    key("id", Uuid),
    required("allocation_id", Uuid),
    required("create_time", Moment, index=True),
    Column("batch_id", Uuid, comment="what it shares with other decisions; null if it is stored by value"),
    Column("policy_revision", Text, comment="null if it is in the batch, like software_version and catalog_hash"),
    Column("software_version", Text),
    Column("catalog_hash", Text),
    Column("explanation", LargeBinary, comment="truestock.v1.Decision; null if it is in the batch"),
    Column(
        "inputs",
        LargeBinary,
        comment="truestock.v1.DecisionInputs without catalog, destination and batch; null in a summary record",
    ),
    Column("destination", LargeBinary, comment="truestock.v1.Destination, apart from inputs so that it can be erased"),
    Column("erased_destination", LargeBinary, comment="truestock.v1.ErasedDestination; null unless it was erased"),
    Column("reference", LargeBinary, comment="which explanation and stock of the batch, and the figures that differ"),
    # Ids begin with their time, so the range of a month is a range of ids. Nothing refers to a decision by a foreign
    # key, and a decision to nothing: months are dropped without a look at orders, which are never deleted.
    postgresql_partition_by="RANGE (id)",
    comment="Decisions with their inputs, by month.",
)

decision_batch = Table(
    "decision_batch",
    metadata,
    key("id", Uuid),
    required("policy_revision", Text),
    required("software_version", Text),
    Column("catalog_hash", Text),
    required("explanations", LargeBinary, comment="of its decisions, each once, without ids"),
    required("parts", LargeBinary, comment="truestock.v1.DecisionInputs: its time, then products with levels"),
    postgresql_partition_by="RANGE (id)",
    comment="What decisions of one transaction share, by month.",
)

decision_catalog = Table(
    "decision_catalog",
    metadata,
    key("hash"),
    required("content", LargeBinary, comment="truestock.v1.DecisionInputs with only the channel and its locations"),
    required("use_time", Moment, server_default=text("clock_timestamp()"), comment="renewed hourly while in use"),
    comment="Catalog states that decisions were made in, each stored once.",
)

IS_OPEN = literal_column("shipment.state IN ('assigned', 'accepted', 'ready_for_pickup')", Boolean)
"""Whether a shipment is open; the condition of the indexes of such shipments."""
IS_ON_HOLD = literal_column(
    "(allocation.state = 'confirmed' AND allocation.hold_time IS NOT NULL AND allocation.hold_release_time IS NULL)",
    Boolean,
)
"""Whether an order is on hold; the condition of the index of such orders."""


def due_time(shipments: FromClause) -> ColumnElement[Any]:
    """When a shipment is due; one without a time to ship by is due last."""
    return func.coalesce(shipments.c.ship_by_time, literal_column(_NEVER_DUE, Moment))


exception_record = (
    exception,
    func.coalesce(
        select(allocation.c.order_id)
        .where(allocation.c.id == exception.c.allocation_id)
        .correlate(exception)
        .scalar_subquery(),
        exception.c.reported_order_id,
    ).label("order_id"),
)
"""An exception with the channel and order number of its order; both null if it has none."""
