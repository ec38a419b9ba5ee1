"""The tables of PostgreSQL, the only state of the service. Constraints repeat the invariants."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
    false,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


class TransactionId(UserDefinedType[int]):
    """PostgreSQL's `xid8`: the number of a transaction, which never comes round again."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name."""
        return "XID8"


Moment = TIMESTAMP(timezone=True)
Texts = ARRAY(Text)
Money = Numeric(19, 4)


def _required(name: str, type_: Any, **options: Any) -> Column[Any]:
    return Column(name, type_, nullable=False, **options)


def _key(name: str, type_: Any = Text) -> Column[Any]:
    return Column(name, type_, primary_key=True)


def _transaction() -> Column[Any]:
    """The transaction that wrote a row. With a snapshot's horizon it tells what a reader may not have seen yet."""
    return _required("xid", TransactionId, server_default=text("pg_current_xact_id()"), index=True)


def _moments() -> list[Column[Any]]:
    return [
        _required("create_time", Moment, server_default=text("clock_timestamp()")),
        _required("update_time", Moment, server_default=text("clock_timestamp()")),
    ]


location = Table(
    "location",
    metadata,
    _key("id"),
    _required("type", Text),
    _required("status", Text),
    _required("display_name", Text),
    _required("tags", Texts),
    Column("country", Text),
    Column("region", Text),
    Column("postal_code", Text),
    Column("latitude", Double),
    Column("longitude", Double),
    _required("time_zone", Text),
    _required("offers_pickup", Boolean),
    _required("handling_minutes", Integer),
    Column("priority", Integer),
    Column("ships_to", Texts, comment="null is everywhere, empty is nowhere"),
    Column("cut_off", Time, comment="by the location's own clock, like opens and closes"),
    _required("opening_days", ARRAY(Integer), server_default="{0,1,2,3,4,5,6}", comment="Monday is 0"),
    Column("opens", Time),
    Column("closes", Time),
    _required("holidays", ARRAY(Date), server_default="{}"),
    *_moments(),
    CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", name="coordinates_whole"),
)

product = Table(
    "product",
    metadata,
    _key("sku"),
    _required("display_name", Text),
    _required("status", Text),
    _required("tags", Texts),
    Column("category", Text),
    Column("brand", Text),
    Column("price", Money),
    Column("currency", Text),
    Column("style", Text),
    Column("barcode", Text),
    Column("image_uri", Text),
    Column("weight_grams", Integer),
    Column("length_mm", Integer),
    Column("width_mm", Integer),
    Column("height_mm", Integer),
    Column("velocity_per_day", Double, comment="as planners state it"),
    Column("learnt_velocity", Double, comment="units a day as of learnt_velocity_time; it decays from there"),
    Column("learnt_velocity_time", Moment),
    *_moments(),
    CheckConstraint("(price IS NULL) = (currency IS NULL)", name="price_whole"),
    CheckConstraint("(learnt_velocity IS NULL) = (learnt_velocity_time IS NULL)", name="learnt_velocity_whole"),
)

channel = Table(
    "channel",
    metadata,
    _key("id"),
    _required("kind", Text),
    _required("display_name", Text),
    _required("location_ids", Texts, comment="empty is all"),
    Column("cancellation_headroom", Double, comment="share of the allowed cancellations that is left"),
    Column("platform", Text, comment="whose words its orders' channel_status speaks"),
    *_moments(),
)

catalogue_version = Table(
    "catalogue_version",
    metadata,
    _key("id", Integer),
    _required("version", BigInteger),
    CheckConstraint("id = 1", name="one_row"),
    comment="Rises with every edit of locations and channels, so that replicas know when theirs are old.",
)

stock_level = Table(
    "stock_level",
    metadata,
    Column("sku", Text, ForeignKey("product.sku"), primary_key=True),
    Column("location_id", Text, ForeignKey("location.id"), primary_key=True),
    _required("on_hand", Integer, server_default="0", comment="below 0 where more left than was counted"),
    _required("unavailable", Integer, server_default="0"),
    _required("held", Integer, server_default="0", comment="expired holds stay in it until they are swept"),
    _required("allocated", Integer, server_default="0"),
    Column("figure_time", Moment, comment="when on_hand was last true at its source"),
    Column("counted_time", Moment, comment="effective time of the last accepted count, the anchor"),
    Column("counted_units", Integer, comment="the number of that count"),
    Column("counted_source", Text),
    Column("counted_sequence", BigInteger, comment="the source's own version of that count"),
    Column("physical_count_time", Moment, comment="when a person last counted"),
    Column("unavailable_time", Moment, comment="effective time of the last accepted count that stated unavailable"),
    Column("count_confidence", Double, comment="share of late counts and picks that found what was expected"),
    Column("heard_time", Moment),
    Column("source", Text),
    _required("tracked", Boolean, server_default=true(), comment="false once its feed no longer knows it"),
    _required("version", BigInteger, server_default="0", comment="rises with every change of the figures"),
    CheckConstraint("(counted_time IS NULL) = (counted_units IS NULL)", name="anchor_whole"),
    CheckConstraint("unavailable >= 0", name="unavailable_not_negative"),
    CheckConstraint("held >= 0", name="nothing_given_back_twice_held"),
    CheckConstraint("allocated >= 0", name="nothing_given_back_twice_allocated"),
    # Figures change in place; room on the page keeps those updates cheap.
    postgresql_with={"fillfactor": "70"},
    comment="The running sum of stock_movement, changed in the same transaction.",
)

stock_movement = Table(
    "stock_movement",
    metadata,
    _key("id", Uuid),
    _required("sku", Text),
    _required("location_id", Text),
    _required("kind", Text),
    _required("fate", Text),
    _required("on_hand_delta", Integer),
    _required("unavailable_delta", Integer),
    _required("held_delta", Integer),
    _required("allocated_delta", Integer),
    Column("stated", Integer, comment="the number that the source said"),
    _required("source", Text),
    Column("change_id", Text, comment="unique to the source; hearing it twice does nothing"),
    Column("allocation_id", Uuid),
    Column("line_id", Text),
    Column("reason", Text),
    _required("effective_time", Moment),
    _required("heard_time", Moment),
    _transaction(),
    Index("stock_movement_heard_idx", "heard_time", "id"),
    Index("stock_movement_order_idx", "allocation_id", postgresql_where=text("allocation_id IS NOT NULL")),
    UniqueConstraint("source", "change_id"),
    Index("stock_movement_history_idx", "sku", "location_id", "effective_time"),
    comment="Append-only: every change of every figure, and why.",
)

ledger_reader = Table(
    "ledger_reader",
    metadata,
    _key("name"),
    _required("horizon", TransactionId, comment="every movement of a transaction below it has been read"),
    comment="How far what learns from the ledger in the background has read it.",
)

stock_unavailable = Table(
    "stock_unavailable",
    metadata,
    _key("sku"),
    _key("location_id"),
    _key("reason"),
    _required("unit_count", Integer),
    CheckConstraint("unit_count >= 0", name="not_negative"),
    comment="The unavailable units of each level by reason. Changed only under the lock of its stock level.",
)

stock_incoming = Table(
    "stock_incoming",
    metadata,
    _key("source"),
    _key("reference"),
    _key("sku"),
    _key("location_id"),
    _required("unit_count", Integer),
    Column("expect_time", Moment),
    _required("heard_time", Moment),
    CheckConstraint("unit_count >= 1", name="something_to_come"),
    Index("stock_incoming_level_idx", "sku", "location_id"),
    comment="Units that are on their way to a location. Nothing of it is sellable.",
)

transfer = Table(
    "transfer",
    metadata,
    _key("id"),
    _required("from_location_id", Text),
    _required("to_location_id", Text),
    Column("expect_time", Moment),
    _required("dispatch_time", Moment),
    Column("settle_time", Moment, comment="null while units are on their way"),
    CheckConstraint("from_location_id <> to_location_id", name="goes_somewhere"),
    Index("transfer_dispatched_idx", "dispatch_time", "id"),
    Index("transfer_open_idx", "to_location_id", postgresql_where=text("settle_time IS NULL")),
    comment="Stock on its way between two locations, which nobody can sell.",
)

transfer_line = Table(
    "transfer_line",
    metadata,
    Column("transfer_id", Text, ForeignKey("transfer.id"), primary_key=True),
    _key("sku"),
    _required("dispatched", Integer),
    _required("received", Integer, server_default="0", comment="may be more than was dispatched"),
    CheckConstraint("dispatched >= 1", name="something_left"),
    CheckConstraint("received >= 0", name="not_negative"),
    Index("transfer_line_sku_idx", "sku"),
)

feed = Table(
    "feed",
    metadata,
    _key("source"),
    _required("display_name", Text),
    _required("role", Text, comment="owner or observer"),
    _required("basis", Text, comment="on_hand or available"),
    _required("open_orders", Text, comment="gross or net"),
    _required("location_ids", Texts, comment="empty is all"),
    _required("skus", Texts, comment="empty is all"),
    Column("cadence_minutes", Integer, comment="null is never missed"),
    _required("tolerance_units", Integer),
    Column("heard_time", Moment),
    *_moments(),
    comment="What the numbers of each declared source of stock figures mean.",
)

stock_quarantine = Table(
    "stock_quarantine",
    metadata,
    _key("source"),
    _key("change_id"),
    _required("sku", Text),
    _required("location_id", Text),
    _required("content", LargeBinary, comment="the StockChange as it came"),
    _required("cause", Text, comment="says when it is worth another try"),
    _required("reason", Text),
    _required("effective_time", Moment),
    _required("heard_time", Moment),
    Index("stock_quarantine_sku_idx", "sku"),
    Index("stock_quarantine_location_idx", "location_id"),
    comment="What could not be recorded, kept until the cause is mended.",
)

allocation = Table(
    "allocation",
    metadata,
    _key("id", Uuid),
    _required("channel_id", Text),
    _required("order_id", Text),
    _required("state", Text),
    _required("outcome", Text),
    _required("commitment", Text),
    _required("method", Text),
    Column("country", Text),
    Column("region", Text),
    Column("postal_code", Text),
    Column("latitude", Double),
    Column("longitude", Double),
    Column("pickup_location_id", Text),
    Column("stated_value", Money),
    _required("priority", Integer),
    _required("tags", Texts),
    Column("expire_time", Moment),
    _required("needs_person", Boolean, server_default=false()),
    Column("decision_id", Uuid),
    Column("channel_update_time", Moment, comment="when the channel last changed the order, by the channel's clock"),
    Column("channel_status", Text, comment="the channel's own word for where it stands"),
    _required("version", BigInteger, server_default="0", comment="rises with every change, under the row's lock"),
    *_moments(),
    UniqueConstraint("channel_id", "order_id"),
    CheckConstraint("state <> 'held' OR expire_time IS NOT NULL", name="a_hold_expires"),
    Index("allocation_expire_time_idx", "expire_time", postgresql_where=text("state = 'held'")),
    Index(
        "allocation_unsettled_idx",
        "update_time",
        postgresql_where=text("state = 'confirmed' AND outcome <> 'allocated'"),
    ),
    postgresql_with={"fillfactor": "80"},
    comment="The one promise of each order. Its row is the order's lock.",
)

allocation_copy = Table(
    "allocation_copy",
    metadata,
    _key("channel_id"),
    _key("order_id"),
    Column("allocation_id", Uuid, ForeignKey("allocation.id"), nullable=False, index=True),
    _required("states_contents", Boolean, server_default=false(), comment="until the original comes"),
    Column("channel_update_time", Moment, comment="when the copy was last changed, by its own channel's clock"),
    comment="Other names of an order, such as the Shopify copy of a TikTok order.",
)

early_cancellation = Table(
    "early_cancellation",
    metadata,
    _key("channel_id"),
    _key("order_id"),
    _key("event_id"),
    _key("line_id"),
    Column("unit_count", Integer, comment="null is everything"),
    _required("heard_time", Moment),
    Column("cancel_time", Moment, comment="by the channel's clock; contents that are not older have it in them"),
    Column("apply_time", Moment, comment="null while its order has not come"),
    Index("early_cancellation_waiting_idx", "heard_time", postgresql_where=text("apply_time IS NULL")),
    comment="Cancellations by their channel's own name, those that were heard before their order among them.",
)

order_line = Table(
    "order_line",
    metadata,
    Column("allocation_id", Uuid, ForeignKey("allocation.id"), primary_key=True),
    _key("line_id"),
    _required("position", Integer),
    _required("sku", Text),
    _required("unit_count", Integer),
    _required("cancelled", Integer, server_default="0"),
    _required("oversold", Integer, server_default="0", comment="units ever sold of it that were not there"),
    Column("unit_price", Money),
    CheckConstraint("unit_count >= 1", name="asks_for_something"),
    CheckConstraint("cancelled BETWEEN 0 AND unit_count", name="not_cancelled_twice"),
)

shipment = Table(
    "shipment",
    metadata,
    _key("id", Uuid),
    Column("allocation_id", Uuid, ForeignKey("allocation.id"), nullable=False, index=True),
    _required("position", Integer),
    _required("location_id", Text),
    _required("state", Text),
    Column("distance_km", Double),
    _required("assign_time", Moment, server_default=text("clock_timestamp()")),
    Column("accept_time", Moment),
    Column("ship_time", Moment),
    Column("deliver_time", Moment, comment="delivered or collected"),
    Column("end_time", Moment, comment="rejected, cancelled or not collected"),
    Column("reject_reason", Text),
    Column("ship_by_time", Moment),
    Index("shipment_work_idx", "location_id", "state", "assign_time"),
    Index(
        "shipment_open_idx",
        "assign_time",
        postgresql_where=text("state IN ('assigned', 'accepted', 'ready_for_pickup')"),
    ),
)

promise = Table(
    "promise",
    metadata,
    _key("shipment_id", Uuid),
    _key("line_id"),
    Column("allocation_id", Uuid, ForeignKey("allocation.id"), nullable=False, index=True),
    _required("sku", Text),
    _required("location_id", Text),
    _required("state", Text, comment="held or allocated"),
    _required("unit_count", Integer),
    Column("expire_time", Moment),
    _required("shipped", Integer, server_default="0"),
    _required("returned", Integer, server_default="0"),
    _required("rejected", Integer, server_default="0", comment="the location could not supply them"),
    CheckConstraint("unit_count >= 0", name="not_negative"),
    CheckConstraint("returned BETWEEN 0 AND shipped", name="not_returned_twice"),
    CheckConstraint("rejected >= 0", name="rejected_not_negative"),
    CheckConstraint("(state = 'held') = (expire_time IS NOT NULL)", name="only_holds_expire"),
    Index("promise_expiring_idx", "sku", "expire_time", postgresql_where=text("state = 'held' AND unit_count > 0")),
    comment="Units of one order line promised at one location. Changed only under the lock of its stock level.",
)

shortage = Table(
    "shortage",
    metadata,
    Column("allocation_id", Uuid, ForeignKey("allocation.id"), primary_key=True),
    _key("line_id"),
    _key("kind"),
    _key("cause"),
    Column(
        "backordered",
        Boolean,
        primary_key=True,
        server_default=false(),
        comment="waits for stock, before anybody else",
    ),
    _required("sku", Text),
    _required("unit_count", Integer),
    CheckConstraint("unit_count >= 1", name="short_of_something"),
    Index("shortage_waiting_idx", "sku", postgresql_where=text("backordered")),
)

stock_effect = Table(
    "stock_effect",
    metadata,
    _key("shipment_id", Uuid),
    _key("line_id"),
    _key("effect"),
    _key("event_id"),
    _required("unit_count", Integer),
    _required("create_time", Moment, server_default=text("clock_timestamp()")),
    comment="Each effect of an event on a shipment's line, so that it happens once.",
)

exception = Table(
    "exception",
    metadata,
    _key("id", Uuid),
    Column("allocation_id", Uuid, ForeignKey("allocation.id"), index=True),
    Column("shipment_id", Uuid),
    Column("channel_id", Text),
    Column("sku", Text),
    Column("location_id", Text),
    Column("source", Text),
    Column("subject", Text, comment="what it is about, where it is raised once however often it is seen"),
    Column("line_ids", Texts, comment="the lines of the order that it is about; null is all"),
    _required("kind", Text),
    _required("state", Text),
    _required("description", Text),
    _required("policy_revision", Text),
    _required("create_time", Moment),
    _required("update_time", Moment, server_default=text("clock_timestamp()")),
    _required("needs_person", Boolean, server_default=true(), comment="false where policy alone settled it"),
    Column("assignee", Text),
    Column("escalate_time", Moment, comment="when it went to whom it escalates"),
    Column("resolve_time", Moment),
    Column("resolution", Text),
    Column("resolved_by", Text),
    Column("note", Text),
    _required("repeat_count", Integer, server_default="0"),
    _required("owner", Text),
    _required("due_time", Moment),
    Column("escalate_to", Text, comment="who gets it once it is overdue; null is nobody"),
    _required("action", Text),
    _required("rule", Text, comment="what decided, and where it stands"),
    CheckConstraint("(state = 'resolved') = (resolution IS NOT NULL)", name="a_settled_one_says_how"),
    Index("exception_due_idx", "due_time", "id", postgresql_where=text("state = 'open'")),
    Index("exception_page_idx", "due_time", "id"),
    Index("exception_shipment_idx", "shipment_id", postgresql_where=text("shipment_id IS NOT NULL")),
    Index(
        "exception_once_idx", "kind", "subject", unique=True, postgresql_where=text("state = 'open' AND subject <> ''")
    ),
    comment="What a person or a policy must settle.",
)

exception_event = Table(
    "exception_event",
    metadata,
    _key("id", Uuid),
    Column("exception_id", Uuid, ForeignKey("exception.id"), nullable=False, index=True),
    _required("event", Text),
    _required("actor", Text, comment="a person, or policy"),
    _required("description", Text),
    _required("event_time", Moment),
    _transaction(),
)

decision = Table(
    "decision",
    metadata,
    _key("id", Uuid),
    Column("allocation_id", Uuid, ForeignKey("allocation.id"), nullable=False, index=True),
    _required("policy_revision", Text),
    _required("software_version", Text),
    _required("explanation", LargeBinary, comment="truestock.v1.Decision"),
    Column("inputs", LargeBinary, comment="truestock.v1.DecisionInputs without the catalogue; null in a short record"),
    Column("catalogue_hash", Text),
    _required("create_time", Moment, index=True),
)

decision_catalogue = Table(
    "decision_catalogue",
    metadata,
    _key("hash"),
    _required("content", LargeBinary, comment="truestock.v1.DecisionInputs with the channel and the locations alone"),
    _required("use_time", Moment, server_default=text("clock_timestamp()"), comment="renewed hourly while in use"),
    comment="Catalogues that decisions were made in, each once.",
)

order_event = Table(
    "order_event",
    metadata,
    _key("id", Uuid),
    Column("allocation_id", Uuid, ForeignKey("allocation.id"), nullable=False, index=True),
    _required("event", Text),
    _required("description", Text),
    _required("policy_revision", Text),
    _required("event_time", Moment),
    Column("decision_id", Uuid),
    _transaction(),
)

availability_told = Table(
    "availability_told",
    metadata,
    _key("channel_id"),
    _key("sku"),
    _required("sellable", Integer),
    _required("largest_single_order", Integer),
    _required("version", BigInteger, comment="rises with every other value, under the row's lock"),
    _required("tell_time", Moment),
    _transaction(),
    comment="What a channel was last told of a product.",
)

policy_set = Table(
    "policy_set",
    metadata,
    _key("revision"),
    _required("path", Text, primary_key=True),
    _required("content", LargeBinary),
    _required("create_time", Moment, server_default=text("clock_timestamp()")),
    _required("use_time", Moment, server_default=text("clock_timestamp()"), comment="renewed hourly while in force"),
    comment="Rule files that are in force or that a kept decision was made by, by the content hash of their set.",
)

request = Table(
    "request",
    metadata,
    _key("id", Uuid),
    _required("method", Text),
    _required("content", LargeBinary),
    Column("answer", LargeBinary),
    _required("create_time", Moment, server_default=text("clock_timestamp()"), index=True),
    comment="Requests that were carried out, so that a retry gets the stored answer.",
)
