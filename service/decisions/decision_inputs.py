"""The inputs of a decision by value: objects of `policies` to messages of the API, and back.

Nothing is rounded or left out, so that inputs read back lead to the same decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from google.type.latlng_pb2 import LatLng
from google.type.timeofday_pb2 import TimeOfDay

from policies.decisions.decision import Decision
from policies.decisions.eligibility import NO_PROMISED_UNITS, WholeOrder
from policies.decisions.routing import RoutedOrder, routed_order
from policies.domain.capacity import WHOLE_DAY, CapacityFigures, CapacityPeriod, CapacityUse
from policies.domain.day_hours import DayHours
from policies.domain.kits import KitPart, of_kit
from policies.domain.listings import OrderedItem
from policies.domain.model import (
    Channel,
    Commitment,
    Coordinates,
    Destination,
    ErasedPoint,
    Location,
    Order,
    OrderFacts,
    OrderLine,
    Product,
    StockLevel,
    World,
)
from policies.domain.outlets import Outlet
from policies.domain.placement import ANYWHERE, of_whole_items
from policies.domain.product_details import ListingReadiness
from policies.policy_set import PolicySet
from policies.stock.oversell import OutletEvidence, OversellEvidence, PublishedFigure, ShownFigure
from service.catalog import location_capacity
from service.catalog.catalog_words import (
    CANCELLATION_DEFAULT,
    CHANNEL_KIND,
    LOCATION_STATUS,
    LOCATION_TYPE,
    PRODUCT_STATUS,
)
from service.decisions import erased_destination
from service.decisions.date_messages import date_message, set_date
from service.decisions.decision_messages import COMMITMENTS, decision_message
from service.decisions.located_destination import LOCATED_BY, LOCATED_BY_WORD
from service.decisions.placement_messages import placement_of, set_placement
from service.rpc.proto_values import timestamp
from truestock.v1 import catalog_service_pb2 as catalog_pb, decision_pb2, order_pb2

_CANCELLATION_DEFAULTS = {word: number for number, word in CANCELLATION_DEFAULT.items()}
_KINDS = {word: number for number, word in CHANNEL_KIND.items()}
_TYPES = {word: number for number, word in LOCATION_TYPE.items()}
_STATUSES = {word: number for number, word in LOCATION_STATUS.items()}
_PRODUCT_STATUSES = {word: number for number, word in PRODUCT_STATUS.items()}
_METHODS = {"ship": order_pb2.FULFILLMENT_METHOD_SHIP, "pickup": order_pb2.FULFILLMENT_METHOD_PICKUP}
_METHOD_WORDS = {number: word for word, number in _METHODS.items()}
_COMMITMENT_WORDS = {number: word for word, number in COMMITMENTS.items()}


@dataclass(frozen=True, slots=True)
class RoutingInputs:
    """All inputs of one decision: the arguments of `routed_order`, and the evidence for the causes of its oversells."""

    world: World
    channel: Channel
    order: Order
    own_units: Mapping[tuple[str, str], int] = field(default_factory=lambda: NO_PROMISED_UNITS)
    rejected_by: frozenset[tuple[str, str]] = frozenset()
    whole: WholeOrder | None = None
    oversells: tuple[OversellEvidence, ...] = ()
    """What was known about the units that the decision lacks."""

    def decide(self, policy_set: PolicySet) -> Decision:
        """The decision for these inputs under the given rules."""
        return self.routed(policy_set).decision()

    def routed(self, policy_set: PolicySet) -> RoutedOrder:
        """The order as the given rules route it, with what leads to the decision."""
        return routed_order(
            policy_set,
            self.world,
            self.channel,
            self.order,
            self.own_units,
            rejected_by=self.rejected_by,
            whole=self.whole,
        )

    def message_of(self, decision: Decision, policy_set: PolicySet, decision_id: UUID) -> decision_pb2.Decision:
        """The decision for these inputs as it is stored."""
        return decision_message(decision, policy_set.revision, decision_id, self.world.now, self.oversells)


def inputs_of(message: decision_pb2.DecisionInputs) -> RoutingInputs:
    """The inputs that a message holds."""
    locations = {x.location_id: _location_of(x) for x in message.locations}
    products = [_product_of(x) for x in message.products]
    levels = [_level_of(x) for x in message.levels]
    order = _order_of(message.order, locations)
    return RoutingInputs(
        world=World(
            _moment(message.now),
            locations,
            {product.sku: product for product in products},
            {(level.sku, level.location_id): level for level in levels},
            capacity=_capacity_figures_of(message.capacity_used) if _limits_anything(locations) else None,
        ),
        channel=_channel_of(message.channel),
        order=order,
        own_units=_units_of(message.promised_units),
        rejected_by=frozenset((x.sku, x.location_id) for x in message.excluded_stock),
        whole=_whole_of(message.whole_order, order) if message.HasField("whole_order") else None,
        oversells=tuple(_oversell_of(x) for x in message.oversells),
    )


def _oversell_of(message: decision_pb2.OversellEvidence) -> OversellEvidence:
    figure = message.published
    return OversellEvidence(
        sku=message.sku,
        ordered=message.ordered_count,
        short=message.short_count,
        published=PublishedFigure(figure.sellable_count, _moment(figure.publish_time), figure.policy_revision)
        if message.HasField("published")
        else None,
        own_units=message.own_promised_count,
        other_units=message.other_promised_count,
        is_stale=message.stale,
        shown=ShownFigure(message.shown_count, _moment(message.observe_time))
        if message.HasField("shown_count")
        else None,
        outlet=_outlet_evidence_of(message.outlet) if message.HasField("outlet") else None,
    )


def _outlet_evidence_of(message: decision_pb2.OutletEvidence) -> OutletEvidence:
    return OutletEvidence(
        *(message.outlet_id, message.published_count, _moment(message.publish_time)),
        *(message.shown_count, _moment(message.observe_time)),
    )


def promised_units_messages(units: Mapping[tuple[str, str], int]) -> list[decision_pb2.PromisedUnits]:
    """Units by (SKU, location id) as decision inputs."""
    return [
        decision_pb2.PromisedUnits(sku=sku, location_id=location_id, unit_count=count)
        for (sku, location_id), count in sorted(units.items())
    ]


def _units_of(messages: Iterable[decision_pb2.PromisedUnits]) -> dict[tuple[str, str], int]:
    return {(x.sku, x.location_id): x.unit_count for x in messages}


def capacity_message(period: CapacityPeriod, use: CapacityUse) -> decision_pb2.CapacityUse:
    """What was taken of a period of a location's capacity as decision inputs."""
    location_id, day, hour = period
    message = decision_pb2.CapacityUse(location_id=location_id, order_count=use.order_count, unit_count=use.unit_count)
    set_date(message.day, day)
    if period.is_hour:
        message.hour = hour
    return message


def _limits_anything(locations: Mapping[str, Location]) -> bool:
    """Whether any location states a capacity: what was taken of it was then read."""
    return any(location.capacity is not None for location in locations.values())


def _capacity_figures_of(messages: Iterable[decision_pb2.CapacityUse]) -> CapacityFigures:
    return CapacityFigures(
        {
            CapacityPeriod(
                x.location_id, date(x.day.year, x.day.month, x.day.day), x.hour if x.HasField("hour") else WHOLE_DAY
            ): CapacityUse(x.order_count, x.unit_count)
            for x in messages
        }
    )


def whole_order_message(whole: WholeOrder) -> decision_pb2.WholeOrder:
    """The order of which only some units are planned as a decision input."""
    return decision_pb2.WholeOrder(
        value=_decimal_text(whole.facts.value),
        unit_count=whole.facts.unit_count or 0,
        line_count=whole.facts.line_count or 0,
        kept_units=promised_units_messages(whole.kept_units),
        has_other_shortages=whole.has_other_shortages,
        weight_grams=whole.facts.weight_grams,
        product_tags=sorted(whole.facts.product_tags or ()),
    )


def _whole_of(message: decision_pb2.WholeOrder, order: Order) -> WholeOrder:
    facts = replace(
        OrderFacts.of(order),
        value=_decimal(message.value),
        unit_count=message.unit_count,
        line_count=message.line_count,
        weight_grams=message.weight_grams if message.HasField("weight_grams") else None,
        product_tags=frozenset(message.product_tags),
    )
    return WholeOrder(facts, _units_of(message.kept_units), message.has_other_shortages)


def set_order(message: decision_pb2.OrderInput, order: Order) -> None:
    """Sets the fields of an order as a decision input, without its destination, which is stored apart.

    The fields that few orders have are set only for those: each costs every order time.
    """
    message.channel_id, message.order_id = order.channel_id, order.order_id
    message.commitment, message.method = COMMITMENTS[order.commitment], _METHODS[order.method]
    for line in order.lines:
        _add_line(message, line)
    if order.pickup_location_id:
        message.pickup_location_id = order.pickup_location_id
    if order.stated_value is not None:
        message.stated_value = _decimal_text(order.stated_value)
    message.currency_code = order.currency
    if order.priority is not None:
        message.priority = order.priority
    if order.tags:
        message.tags.extend(sorted(order.tags))
    if order.destination is not None and order.destination.located_by is not None:
        message.located_by = LOCATED_BY[order.destination.located_by]
    if order.ship_by_time is not None:
        message.ship_by_time.FromDatetime(order.ship_by_time)
    if order.deliver_by is not None:
        set_date(message.deliver_by, order.deliver_by)
    if order.outlet is not None:
        message.outlet_id = order.outlet.id
        message.outlet_location_ids.extend(sorted(order.outlet.location_ids))


def _add_line(message: decision_pb2.OrderInput, line: OrderLine) -> None:
    line_message = message.lines.add(line_id=line.line_id, sku=line.sku, unit_count=line.unit_count)
    if line.placement is not ANYWHERE:
        set_placement(line_message, line.placement)
    message.unit_prices.append(_decimal_text(line.unit_price))
    if line.item is not None:
        _add_item(message, line.line_id, line.item)
    if line.kit is not None:
        _add_kit_part(message, line.line_id, line.kit)


def _add_item(message: decision_pb2.OrderInput, line_id: str, item: OrderedItem) -> None:
    message.items.add(line_id=line_id, item_id=item.item_id, item_count=item.count, units_per_item=item.units_each)


def _add_kit_part(message: decision_pb2.OrderInput, line_id: str, kit: KitPart) -> None:
    part = message.kit_parts.add(line_id=line_id, kit_line_id=kit.line_id, kit_sku=kit.sku)
    part.units_per_kit, part.may_split = kit.unit_count, kit.may_split


def _order_of(message: decision_pb2.OrderInput, locations: Mapping[str, Location]) -> Order:
    located_by = LOCATED_BY_WORD.get(message.located_by)
    destination = _destination_of(message.destination, located_by) if message.HasField("destination") else None
    if message.HasField("erased_destination"):
        erased = erased_destination.destination_of(message.erased_destination, locations)
        destination = replace(erased, located_by=located_by)
    lines = zip(message.lines, message.unit_prices, strict=True)
    kits = {x.line_id: KitPart(x.kit_line_id, x.kit_sku, x.units_per_kit, x.may_split) for x in message.kit_parts}
    items = {x.line_id: OrderedItem(x.item_id, x.item_count, x.units_per_item) for x in message.items}
    return Order(
        channel_id=message.channel_id,
        order_id=message.order_id,
        lines=tuple(_line_of(x, price, items.get(x.line_id), kits.get(x.line_id)) for x, price in lines),
        commitment=Commitment(_COMMITMENT_WORDS[message.commitment]),
        method=_METHOD_WORDS[message.method],
        destination=destination,
        pickup_location_id=message.pickup_location_id or None,
        stated_value=_decimal(message.stated_value),
        currency=message.currency_code,
        priority=message.priority if message.HasField("priority") else None,
        tags=frozenset(message.tags),
        ship_by_time=_moment(message.ship_by_time) if message.HasField("ship_by_time") else None,
        deliver_by=_date(message.deliver_by) if message.HasField("deliver_by") else None,
        outlet=Outlet(message.outlet_id, frozenset(message.outlet_location_ids)) if message.outlet_id else None,
    )


def _line_of(message: order_pb2.OrderLine, price: str, item: OrderedItem | None, kit: KitPart | None) -> OrderLine:
    stated = placement_of(message)
    placement = of_whole_items(stated, message.line_id, item) if kit is None else of_kit(stated, kit, item)
    return OrderLine(message.line_id, message.sku, message.unit_count, _decimal(price), placement, item, kit)


def destination_message(destination: Destination | None) -> order_pb2.Destination | None:
    """A destination as a decision input."""
    if destination is None:
        return None
    return order_pb2.Destination(
        country=destination.country or "",
        region=destination.region or "",
        postal_code=destination.postal_code or "",
        coordinates=_point_message(destination.coordinates),
    )


def _destination_of(message: order_pb2.Destination, located_by: str | None) -> Destination:
    return Destination(
        country=message.country or None,
        region=message.region or None,
        postal_code=message.postal_code or None,
        coordinates=_point(message.coordinates) if message.HasField("coordinates") else None,
        located_by=located_by,
    )


def channel_message(channel: Channel) -> catalog_pb.Channel:
    """A channel as a decision input."""
    return catalog_pb.Channel(
        channel_id=channel.id,
        kind=_KINDS[channel.kind],  # type: ignore[arg-type]
        display_name=channel.name,
        location_ids=sorted(channel.location_ids),
        cancellation_headroom=channel.cancellation_headroom,
        platform=channel.platform or "",
        figure_lag_seconds=int(channel.figure_lag.total_seconds()),
        unpaid_order_duration=_duration(channel.unpaid_order_duration),
        cancellation_default=_CANCELLATION_DEFAULTS[channel.cancellation_default],  # type: ignore[arg-type]
        markets=channel.markets,
    )


def _duration(value: timedelta | None) -> Duration | None:
    return None if value is None else Duration(seconds=int(value.total_seconds()))


def _channel_of(message: catalog_pb.Channel) -> Channel:
    return Channel(
        id=message.channel_id,
        kind=CHANNEL_KIND[message.kind],
        name=message.display_name,
        location_ids=frozenset(message.location_ids),
        cancellation_headroom=message.cancellation_headroom if message.HasField("cancellation_headroom") else None,
        platform=message.platform or None,
        figure_lag=timedelta(seconds=message.figure_lag_seconds),
        unpaid_order_duration=message.unpaid_order_duration.ToTimedelta()
        if message.HasField("unpaid_order_duration")
        else None,
        cancellation_default=CANCELLATION_DEFAULT[message.cancellation_default],
        markets=tuple(message.markets),
    )


def location_message(location: Location) -> catalog_pb.Location:
    """A location as a decision input; its opening days are always set, and its holidays include public ones."""
    ships_to = None if location.ships_to is None else catalog_pb.CountryList(countries=sorted(location.ships_to))
    return catalog_pb.Location(
        location_id=location.id,
        type=_TYPES[location.type],  # type: ignore[arg-type]
        status=_STATUSES[location.status],  # type: ignore[arg-type]
        display_name=location.name,
        tags=sorted(location.tags),
        country=location.country or "",
        region=location.region or "",
        coordinates=_point_message(location.coordinates),
        time_zone=location.time_zone,
        offers_pickup=location.offers_pickup,
        handling_minutes=location.handling_minutes,
        priority=location.priority,
        ships_to=ships_to,
        working_time=catalog_pb.WorkingTime(
            cut_off=_time_message(location.cut_off),
            opening_days=[day + 1 for day in sorted(location.opening_days)],
            opens=_time_message(location.opens),
            closes=_time_message(location.closes),
            holidays=[date_message(day) for day in sorted(location.holidays)],
            weekday_hours=[_weekday_hours_message(day, hours) for day, hours in location.weekday_hours],
        ),
        capacity=None if location.capacity is None else location_capacity.message_of(location.capacity),
    )


def _location_of(message: catalog_pb.Location) -> Location:
    working_time = message.working_time
    return Location(
        id=message.location_id,
        type=LOCATION_TYPE[message.type],
        status=LOCATION_STATUS[message.status],
        name=message.display_name,
        tags=frozenset(message.tags),
        country=message.country or None,
        region=message.region or None,
        coordinates=_point(message.coordinates) if message.HasField("coordinates") else None,
        time_zone=message.time_zone,
        offers_pickup=message.offers_pickup,
        handling_minutes=message.handling_minutes if message.HasField("handling_minutes") else None,
        priority=message.priority if message.HasField("priority") else None,
        ships_to=frozenset(message.ships_to.countries) if message.HasField("ships_to") else None,
        cut_off=_time(working_time.cut_off) if working_time.HasField("cut_off") else None,
        opening_days=frozenset(day - 1 for day in working_time.opening_days),
        opens=_time(working_time.opens) if working_time.HasField("opens") else None,
        closes=_time(working_time.closes) if working_time.HasField("closes") else None,
        holidays=frozenset(_date(day) for day in working_time.holidays),
        weekday_hours=tuple((x.day - 1, _day_hours_of(x)) for x in working_time.weekday_hours),
        capacity=location_capacity.of_message(message.capacity) if message.HasField("capacity") else None,
    )


def _weekday_hours_message(day: int, hours: DayHours) -> catalog_pb.WeekdayHours:
    return catalog_pb.WeekdayHours(
        day=day + 1,
        cut_off=_time_message(hours.cut_off),
        opens=_time_message(hours.opens),
        closes=_time_message(hours.closes),
    )


def _day_hours_of(message: catalog_pb.WeekdayHours) -> DayHours:
    return DayHours(
        opens=_time(message.opens) if message.HasField("opens") else None,
        closes=_time(message.closes) if message.HasField("closes") else None,
        cut_off=_time(message.cut_off) if message.HasField("cut_off") else None,
    )


def product_message(product: Product) -> decision_pb2.ProductInput:
    """A product as a decision input."""
    readiness = product.readiness
    return decision_pb2.ProductInput(
        product=catalog_pb.Product(
            sku=product.sku,
            display_name=product.name,
            status=_PRODUCT_STATUSES[product.status],  # type: ignore[arg-type]
            tags=sorted(product.tags),
            category=product.category or "",
            brand=product.brand or "",
            weight_grams=product.weight_grams,
        ),
        velocity_per_day=product.velocity_per_day,
        price=_decimal_text(product.price),
        has_dimensions=product.has_dimensions,
        has_barcode=product.has_barcode,
        has_image=product.has_image,
        ready_platforms=None if readiness is None else sorted(readiness.ready),
        unready_platforms=None if readiness is None else sorted(readiness.unready),
    )


def _product_of(message: decision_pb2.ProductInput) -> Product:
    product = message.product
    return Product(
        sku=product.sku,
        name=product.display_name,
        status=PRODUCT_STATUS[product.status],
        tags=frozenset(product.tags),
        category=product.category or None,
        brand=product.brand or None,
        price=_decimal(message.price),
        velocity_per_day=message.velocity_per_day if message.HasField("velocity_per_day") else None,
        has_dimensions=message.has_dimensions,
        has_barcode=message.has_barcode,
        has_image=message.has_image,
        weight_grams=product.weight_grams if product.HasField("weight_grams") else None,
        readiness=_readiness_of(message),
    )


def _readiness_of(message: decision_pb2.ProductInput) -> ListingReadiness | None:
    if not message.ready_platforms and not message.unready_platforms:
        return None
    return ListingReadiness(frozenset(message.ready_platforms), frozenset(message.unready_platforms))


def level_message(level: StockLevel) -> decision_pb2.StockLevelInput:
    """A stock level as a decision input."""
    return decision_pb2.StockLevelInput(
        sku=level.sku,
        location_id=level.location_id,
        on_hand_count=level.on_hand,
        unavailable_count=level.unavailable,
        held_count=level.held,
        allocated_count=level.allocated,
        as_of_time=timestamp(level.as_of_time),
        counted_time=timestamp(level.counted_time),
        count_confidence=level.count_confidence,
        source=level.source or "",
        tracked=level.tracked,
        physical_count_time=timestamp(level.physical_count_time),
        oldest_receipt_time=timestamp(level.oldest_receipt_time),
    )


def _level_of(message: decision_pb2.StockLevelInput) -> StockLevel:
    return StockLevel(
        sku=message.sku,
        location_id=message.location_id,
        on_hand=message.on_hand_count,
        unavailable=message.unavailable_count,
        held=message.held_count,
        allocated=message.allocated_count,
        as_of_time=_moment(message.as_of_time) if message.HasField("as_of_time") else None,
        counted_time=_moment(message.counted_time) if message.HasField("counted_time") else None,
        count_confidence=message.count_confidence if message.HasField("count_confidence") else None,
        source=message.source or None,
        tracked=message.tracked,
        physical_count_time=_moment(message.physical_count_time) if message.HasField("physical_count_time") else None,
        oldest_receipt_time=_moment(message.oldest_receipt_time) if message.HasField("oldest_receipt_time") else None,
    )


def _point_message(point: Coordinates | ErasedPoint | None) -> LatLng | None:
    return LatLng(latitude=point.latitude, longitude=point.longitude) if isinstance(point, Coordinates) else None


def _point(message: LatLng) -> Coordinates:
    return Coordinates(message.latitude, message.longitude)


def _time_message(moment: time | None) -> TimeOfDay | None:
    if moment is None:
        return None
    nanos = moment.microsecond * 1_000
    return TimeOfDay(hours=moment.hour, minutes=moment.minute, seconds=moment.second, nanos=nanos)


def _time(message: TimeOfDay) -> time:
    return time(message.hours, message.minutes, message.seconds, message.nanos // 1_000)


def _date(message: Date) -> date:
    return date(message.year, message.month, message.day)


def _moment(message: Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)


def _decimal_text(amount: Decimal | None) -> str:
    """An amount as decimal text, the same for equal amounts; empty for None."""
    if amount is None:
        return ""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None
