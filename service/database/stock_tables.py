"""The tables of the catalog and of stock: locations, products, channels, feeds, levels, movements, transfers."""

from __future__ import annotations

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
    Table,
    Text,
    Time,
    Uuid,
    false,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from service.database.columns import (
    Moment,
    Money,
    Texts,
    TransactionId,
    key,
    metadata,
    required,
    timestamps,
    transaction_id,
)

location = Table(
    "location",
    metadata,
    key("id"),
    required("type", Text),
    required("status", Text),
    required("display_name", Text),
    required("tags", Texts),
    Column("country", Text),
    Column("region", Text),
    Column("postal_code", Text),
    Column("latitude", Double),
    Column("longitude", Double),
    required("time_zone", Text),
    required("offers_pickup", Boolean),
    Column("handling_minutes", Integer, comment="from order to hand-over; null if nobody has stated it"),
    Column("priority", Integer),
    Column("ships_to", Texts, comment="country codes; null is everywhere, empty is nowhere"),
    Column("cut_off", Time, comment="local time, like opens and closes"),
    required("opening_days", ARRAY(Integer), server_default="{0,1,2,3,4,5,6}", comment="Monday is 0"),
    Column("opens", Time),
    Column("closes", Time),
    required("holidays", ARRAY(Date), server_default="{}"),
    required("weekday_cut_offs", ARRAY(Time), server_default="{}", comment="from Monday; null is cut_off; or empty"),
    required("weekday_opens", ARRAY(Time), server_default="{}", comment="like weekday_cut_offs"),
    required("weekday_closes", ARRAY(Time), server_default="{}", comment="like weekday_cut_offs"),
    required("closed_on_public_holidays", Boolean, server_default="false"),
    Column("orders_per_day", Integer, comment="the most that it handles; null is no limit, like the next three"),
    Column("units_per_day", Integer),
    Column("orders_per_hour", Integer),
    Column("units_per_hour", Integer),
    Column("capacity_days_ahead", Integer, comment="up to how many days later it takes an order when it is full"),
    required(
        "recheck_version",
        BigInteger,
        server_default="0",
        comment="catalog version of the last change after which orders may have to leave; shipments of an older one "
        "are checked again",
    ),
    *timestamps(),
    CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", name="coordinates_whole"),
)

product = Table(
    "product",
    metadata,
    key("sku"),
    required("display_name", Text),
    required("status", Text),
    required("tags", Texts),
    Column("category", Text),
    Column("brand", Text),
    Column("price", Money),
    Column("currency", Text),
    Column("style", Text),
    Column("barcode", Text),
    Column("image_uri", Text, comment="of the main image: the first of image_uris, if there are any"),
    required("image_uris", Texts, server_default="{}", comment="as stated; empty if only image_uri is"),
    required("image_widths", ARRAY(Integer), server_default="{}", comment="pixels; null if not stated"),
    required("image_heights", ARRAY(Integer), server_default="{}", comment="like image_widths"),
    required("attribute_names", Texts, server_default="{}", comment="sorted"),
    required("attribute_values", Texts, server_default="{}", comment="in the order of attribute_names"),
    Column("weight_grams", Integer),
    Column("length_mm", Integer),
    Column("width_mm", Integer),
    Column("height_mm", Integer),
    Column("velocity_per_day", Double, comment="as set in the catalog; wins over learned_velocity"),
    Column("learned_velocity", Double, comment="units a day as of learned_velocity_time; it decays from there"),
    Column("learned_velocity_time", Moment),
    *timestamps(),
    CheckConstraint("(price IS NULL) = (currency IS NULL)", name="price_whole"),
    CheckConstraint(
        "cardinality(image_uris) = cardinality(image_widths) AND cardinality(image_uris) = cardinality(image_heights)",
        name="images_whole",
    ),
    CheckConstraint("cardinality(attribute_names) = cardinality(attribute_values)", name="attributes_whole"),
    CheckConstraint("(learned_velocity IS NULL) = (learned_velocity_time IS NULL)", name="learned_velocity_whole"),
    # Finds SKUs that differ by letter case, zeros at the front or a typo, for errors about unknown ones.
    Index("product_plain_sku_idx", text("lower(ltrim(sku, '0'))")),
)

channel = Table(
    "channel",
    metadata,
    key("id"),
    required("kind", Text),
    required("display_name", Text),
    required("location_ids", Texts, comment="empty means all"),
    Column("cancellation_headroom", Double, comment="share of the channel's allowed cancellations that remains"),
    Column("platform", Text, comment="platform whose status words its orders use in channel_status"),
    required("figure_lag_seconds", Integer, server_default="0", comment="until it shows a figure published to it"),
    Column("unpaid_order_seconds", Integer, comment="how long an order may wait for payment; null if not stated"),
    Column("cancellation_default", Text, comment="accept or decline; null is the default of its platform"),
    Column("markets", Texts, comment="countries and regions of its shoppers; null or empty is unknown"),
    *timestamps(),
)

listing = Table(
    "listing",
    metadata,
    key("channel_id"),
    key("item_id"),
    required("sku", Text),
    required("unit_count", Integer, comment="units of the SKU in one item"),
    *timestamps(),
    CheckConstraint("unit_count >= 1", name="unit_count_positive"),
    Index("listing_item_idx", "item_id", "channel_id"),
    Index("listing_sku_idx", "sku", "channel_id", "item_id"),
    comment="What channels sell under ids of their own. Orders keep what their items were when they were taken in.",
)

pool = Table(
    "pool",
    metadata,
    key("id"),
    required("display_name", Text),
    required("location_ids", Texts),
    *timestamps(),
    comment="Named sets of locations.",
)

outlet = Table(
    "outlet",
    metadata,
    key("channel_id"),
    key("id"),
    required("display_name", Text),
    Column("location_id", Text, comment="null if the outlet is a pool"),
    Column("pool_id", Text, index=True, comment="a deleted pool has no locations"),
    *timestamps(),
    CheckConstraint("(location_id IS NULL) <> (pool_id IS NULL)", name="one_source"),
    comment="What a channel calls a location or a warehouse; a location is in at most one outlet of a channel.",
)

kit = Table(
    "kit",
    metadata,
    key("sku"),
    required("component_skus", Texts, comment="in the retailer's order"),
    required("component_units", ARRAY(Integer), comment="units in one kit, in the order of component_skus"),
    required("may_split", Boolean, comment="components of one kit may be shipped from several locations"),
    *timestamps(),
    CheckConstraint("cardinality(component_skus) = cardinality(component_units)", name="components_whole"),
    CheckConstraint("cardinality(component_skus) >= 1", name="components_present"),
    CheckConstraint("NOT component_skus @> ARRAY[sku]", name="no_kit_in_itself"),
    # Finds the kits that contain a product.
    Index("kit_component_skus_idx", "component_skus", postgresql_using="gin"),
    comment="Products that consist of other products.",
)

catalog_version = Table(
    "catalog_version",
    metadata,
    key("id", Integer),
    required("version", BigInteger),
    required("kit_version", BigInteger, server_default="0", comment="version of the last edit of a kit"),
    CheckConstraint("id = 1", name="one_row"),
    comment="Rises with every edit of locations, channels, pools and outlets, so that services notice a stale copy.",
)

feed = Table(
    "feed",
    metadata,
    key("source"),
    required("display_name", Text),
    required("role", Text, comment="owner or observer"),
    required("basis", Text, comment="on_hand or available"),
    required("open_orders", Text, comment="gross or net"),
    required("location_ids", Texts, comment="empty means all"),
    required("skus", Texts, comment="empty means all"),
    Column("cadence_minutes", Integer, comment="expected minutes between reports; null is never overdue"),
    required("tolerance_units", Integer),
    required("computed", Boolean, server_default=false(), comment="a program computes its figures; no person counts"),
    Column("ingest_time", Moment),
    *timestamps(),
    comment="Declared feeds: who reports stock, and what the figures mean.",
)

stock_level = Table(
    "stock_level",
    metadata,
    Column("sku", Text, ForeignKey("product.sku"), primary_key=True),
    Column("location_id", Text, ForeignKey("location.id"), primary_key=True),
    # No CHECK keeps on_hand at 0 or above. If more units ship than were counted, the shipment is a fact and the
    # count was wrong; refusing the shipment would hide that.
    required("on_hand", Integer, server_default="0", comment="below 0 if more units shipped than were counted"),
    required("unavailable", Integer, server_default="0"),
    required("held", Integer, server_default="0", comment="includes expired holds until they are swept"),
    required("allocated", Integer, server_default="0"),
    Column("as_of_time", Moment, comment="when on_hand was last true at its source"),
    Column("counted_time", Moment, comment="effective time of the last accepted count"),
    Column("counted_units", Integer, comment="units of that count"),
    Column("counted_source", Text),
    Column("counted_sequence", BigInteger, comment="the source's sequence number of that count"),
    Column("physical_count_time", Moment, comment="when a person last counted"),
    Column(
        "unavailable_time", Moment, comment="effective time of the last accepted count that reported unavailable units"
    ),
    # From these four and the location's history follows the chance that on_hand is right.
    required(
        "movements_since_count",
        Integer,
        server_default="0",
        comment="movements of goods since physical_count_time",
    ),
    required(
        "not_found_since_count", Integer, server_default="0", comment="picks since then that did not find their units"
    ),
    required("count_errors", Double, server_default="0", comment="errors that counts and picks have found here"),
    required(
        "count_exposure_days",
        Double,
        server_default="0",
        comment="days, and movements as days, in which those errors could happen",
    ),
    Column("ingest_time", Moment),
    Column("source", Text),
    required(
        "tracked", Boolean, server_default=true(), comment="false once its feed stopped tracking the product here"
    ),
    required("version", BigInteger, server_default="0", comment="rises with every change of the figures"),
    CheckConstraint("(counted_time IS NULL) = (counted_units IS NULL)", name="anchor_whole"),
    CheckConstraint("unavailable >= 0", name="unavailable_not_negative"),
    CheckConstraint("held >= 0", name="held_not_negative"),
    CheckConstraint("allocated >= 0", name="allocated_not_negative"),
    # Figures change in place; room on the page keeps those updates cheap.
    postgresql_with={"fillfactor": "70"},
    comment="The running sum of stock_movement, changed in the same transaction.",
)

location_count_history = Table(
    "location_count_history",
    metadata,
    Column("location_id", Text, ForeignKey("location.id"), primary_key=True),
    required("errors", Double),
    required("exposure_days", Double),
    comment="Errors that counts and picks have found at a location, and the exposure in which they could happen.",
)

stock_movement = Table(
    "stock_movement",
    metadata,
    key("id", Uuid),
    required("sku", Text),
    required("location_id", Text),
    required("kind", Text),
    required("result", Text),
    required("on_hand_delta", Integer),
    required("unavailable_delta", Integer),
    required("held_delta", Integer),
    required("allocated_delta", Integer),
    Column("reported_count", Integer, comment="the number that the source reported"),
    required("source", Text),
    Column("change_id", Text, comment="unique to the source; a repeated id has no effect"),
    Column("allocation_id", Uuid),
    Column("line_id", Text),
    Column("reason", Text),
    required("effective_time", Moment),
    required("ingest_time", Moment),
    transaction_id(),
    Index("stock_movement_ingest_idx", "ingest_time", "id"),
    Index("stock_movement_order_idx", "allocation_id", postgresql_where=text("allocation_id IS NOT NULL")),
    # Movements of orders have no change id, and no entry in the index.
    Index(
        "stock_movement_change_idx",
        "source",
        "change_id",
        unique=True,
        postgresql_where=text("change_id IS NOT NULL"),
    ),
    Index("stock_movement_sku_idx", "sku", "ingest_time", "id"),
    Index("stock_movement_history_idx", "sku", "location_id", "effective_time"),
    Index(
        "stock_movement_receipt_idx",
        "sku",
        "location_id",
        "effective_time",
        "id",
        postgresql_where=text("on_hand_delta > 0"),
    ),
    comment="Append-only: every change of every figure, and why.",
)

ledger_reader = Table(
    "ledger_reader",
    metadata,
    key("name"),
    required("horizon", TransactionId, comment="every movement of a transaction below it has been read"),
    comment="How far background readers of the ledger, such as the velocity learner, have read.",
)

stock_unavailable = Table(
    "stock_unavailable",
    metadata,
    key("sku"),
    key("location_id"),
    key("reason"),
    required("unit_count", Integer),
    CheckConstraint("unit_count >= 0", name="not_negative"),
    comment="The unavailable units of each level by reason. Changed only under the lock of its stock level.",
)

stock_incoming = Table(
    "stock_incoming",
    metadata,
    key("source"),
    key("reference"),
    key("sku"),
    key("location_id"),
    required("unit_count", Integer),
    Column("expect_time", Moment),
    required("ingest_time", Moment),
    CheckConstraint("unit_count >= 1", name="unit_count_positive"),
    Index("stock_incoming_level_idx", "sku", "location_id"),
    comment="Units on their way to a location; not sellable until they arrive.",
)

transfer = Table(
    "transfer",
    metadata,
    key("id"),
    required("from_location_id", Text),
    required("to_location_id", Text),
    Column("expect_time", Moment),
    required("dispatch_time", Moment),
    Column("complete_time", Moment, comment="null while units are in transit"),
    required("cancelled", Boolean, server_default=false(), comment="units that were not received went back"),
    Column("allocation_id", Uuid, comment="the order that its units are sent for"),
    Column("shipment_id", Uuid, comment="the shipment of that order"),
    CheckConstraint("(allocation_id IS NULL) = (shipment_id IS NULL)", name="for_an_order_whole"),
    CheckConstraint("complete_time IS NOT NULL OR NOT cancelled", name="cancelled_has_ended"),
    CheckConstraint("from_location_id <> to_location_id", name="locations_differ"),
    Index("transfer_dispatched_idx", "dispatch_time", "id"),
    Index("transfer_in_transit_idx", "dispatch_time", "id", postgresql_where=text("complete_time IS NULL")),
    Index("transfer_from_idx", "from_location_id", "dispatch_time", "id"),
    Index("transfer_to_idx", "to_location_id", "dispatch_time", "id"),
    Index("transfer_open_idx", "to_location_id", postgresql_where=text("complete_time IS NULL")),
    comment="Stock in transit between two locations; no channel can sell it.",
)

transfer_line = Table(
    "transfer_line",
    metadata,
    Column("transfer_id", Text, ForeignKey("transfer.id"), primary_key=True),
    key("sku"),
    required("dispatched", Integer),
    required("received", Integer, server_default="0", comment="may be more than was dispatched"),
    required("returned", Integer, server_default="0", comment="units at the origin again after a cancellation"),
    CheckConstraint("dispatched >= 1", name="dispatched_positive"),
    CheckConstraint("received >= 0", name="not_negative"),
    CheckConstraint("returned BETWEEN 0 AND greatest(0, dispatched - received)", name="returned_within_dispatched"),
    Index("transfer_line_sku_idx", "sku"),
)

stock_quarantine = Table(
    "stock_quarantine",
    metadata,
    key("source"),
    key("change_id"),
    required("sku", Text),
    required("location_id", Text),
    required("content", LargeBinary, comment="the StockChange as received"),
    required("cause", Text, comment="why it is quarantined, which decides when it is retried"),
    required("reason", Text),
    required("effective_time", Moment),
    required("ingest_time", Moment),
    Column("channel_id", Text, comment="of the item; null if the change names a SKU"),
    Column("item_id", Text, comment="the item that the change names; its SKU is empty while no listing maps it"),
    CheckConstraint("(channel_id IS NULL) = (item_id IS NULL)", name="item_whole"),
    Index("stock_quarantine_sku_idx", "sku"),
    Index(
        "stock_quarantine_item_idx", "channel_id", "item_id", postgresql_where=text("sku = '' AND item_id IS NOT NULL")
    ),
    Index("stock_quarantine_location_idx", "location_id"),
    comment="Stock changes that cannot be recorded yet, kept until the cause is fixed.",
)
