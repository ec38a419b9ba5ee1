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
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

Moment = TIMESTAMP(timezone=True)
Texts = ARRAY(Text)
Money = Numeric(19, 4)


def _required(name: str, type_: Any, **options: Any) -> Column[Any]:
    return Column(name, type_, nullable=False, **options)


def _key(name: str, type_: Any = Text) -> Column[Any]:
    return Column(name, type_, primary_key=True)


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
    Column("velocity_per_day", Double),
    *_moments(),
    CheckConstraint("(price IS NULL) = (currency IS NULL)", name="price_whole"),
)

channel = Table(
    "channel",
    metadata,
    _key("id"),
    _required("kind", Text),
    _required("display_name", Text),
    _required("location_ids", Texts, comment="empty is all"),
    Column("cancellation_headroom", Double, comment="share of the allowed cancellations that is left"),
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
    Column("heard_time", Moment),
    Column("source", Text),
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
    _required("effective_time", Moment),
    _required("heard_time", Moment),
    UniqueConstraint("source", "change_id"),
    Index("stock_movement_history_idx", "sku", "location_id", "effective_time"),
    comment="Append-only: every change of every figure, and why.",
)

stock_quarantine = Table(
    "stock_quarantine",
    metadata,
    _key("source"),
    _key("change_id"),
    _required("sku", Text),
    _required("location_id", Text),
    _required("content", LargeBinary, comment="the StockChange as it came"),
    _required("reason", Text),
    _required("heard_time", Moment),
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
    *_moments(),
    UniqueConstraint("channel_id", "order_id"),
    CheckConstraint("state <> 'held' OR expire_time IS NOT NULL", name="a_hold_expires"),
    Index("allocation_expire_time_idx", "expire_time", postgresql_where=text("state = 'held'")),
    postgresql_with={"fillfactor": "80"},
    comment="The one promise of each order. Its row is the order's lock.",
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
    CheckConstraint("unit_count >= 0", name="not_negative"),
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
    _required("sku", Text),
    _required("unit_count", Integer),
    _required("cause", Text),
    CheckConstraint("unit_count >= 1", name="short_of_something"),
)

exception = Table(
    "exception",
    metadata,
    _key("id", Uuid),
    Column("allocation_id", Uuid, ForeignKey("allocation.id"), nullable=False, index=True),
    _required("kind", Text),
    _required("state", Text),
    _required("description", Text),
    _required("policy_revision", Text),
    _required("create_time", Moment),
    _required("owner", Text),
    _required("due_time", Moment),
    Column("escalate_to", Text, comment="who gets it once it is overdue; null is nobody"),
    _required("action", Text),
    _required("rule", Text, comment="what decided, and where it stands"),
    comment="What a person must settle.",
)

decision = Table(
    "decision",
    metadata,
    _key("id", Uuid),
    Column("allocation_id", Uuid, ForeignKey("allocation.id"), nullable=False, index=True),
    _required("policy_revision", Text),
    _required("software_version", Text),
    _required("explanation", LargeBinary, comment="truestock.v1.Decision"),
    _required("create_time", Moment),
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
)

policy_set = Table(
    "policy_set",
    metadata,
    _key("revision"),
    _required("path", Text, primary_key=True),
    _required("content", LargeBinary),
    _required("create_time", Moment, server_default=text("clock_timestamp()")),
    comment="Every rule file that was ever in force, by the content hash of its set.",
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
