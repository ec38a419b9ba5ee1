"""Validates catalog requests and turns them into rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from policies.domain.channel_statuses import PLATFORMS
from service import limits
from service.catalog import location_capacity, product_details, public_holidays, working_hours
from service.catalog.catalog_words import (
    CANCELLATION_DEFAULT,
    CHANNEL_KIND,
    LOCATION_STATUS,
    LOCATION_TYPE,
    PRODUCT_STATUS,
)
from service.rpc.validation import Fields
from truestock.v1 import catalog_service_pb2 as catalog_pb

Row = dict[str, Any]


def location_rows(locations: Sequence[catalog_pb.Location]) -> list[Row]:
    """Rows of `location`. Raises InvalidFields.

    On the event loop, `public_holidays.load` comes before.
    """
    return read_all("locations", locations, lambda location: location.location_id, "location_id", _location)


def product_rows(products: Sequence[catalog_pb.Product]) -> list[Row]:
    """Rows of `product`. Raises InvalidFields."""
    return read_all("products", products, lambda product: product.sku, "sku", _product)


def channel_rows(channels: Sequence[catalog_pb.Channel]) -> list[Row]:
    """Rows of `channel`. Raises InvalidFields."""
    return read_all("channels", channels, lambda channel: channel.channel_id, "channel_id", _channel)


def read_all(
    name: str,
    messages: Sequence[Any],
    id_of: Callable[[Any], str],
    key: str,
    read: Callable[[Fields, str, Any], Row],
) -> list[Row]:
    """The rows of the records in a field of a request, no two with the same id. Raises InvalidFields.

    `key` is the field that errors about repeated ids name, `read` checks one record.
    """
    fields = Fields()
    rows: list[Row] = []
    first_indexes: dict[str, int] = {}
    if fields.size(name, messages, 1, limits.UPSERTS):
        for index, message in enumerate(messages):
            record_id = id_of(message)
            if record_id in first_indexes:
                fields.wrong(f"{name}[{index}].{key}", f"'{record_id}' is {name}[{first_indexes[record_id]}] too")
            first_indexes.setdefault(record_id, index)
            rows.append(read(fields, f"{name}[{index}]", message))
    fields.finish()
    return rows


def _location(fields: Fields, at: str, message: catalog_pb.Location) -> Row:
    point = fields.coordinates(f"{at}.coordinates", message.coordinates) if message.HasField("coordinates") else None
    ships_to = list(message.ships_to.countries) if message.HasField("ships_to") else None
    if ships_to is not None and fields.size(f"{at}.ships_to.countries", ships_to, 0, limits.COUNTRIES):
        for index, country in enumerate(ships_to):
            fields.country(f"{at}.ships_to.countries[{index}]", country, required=True)
    priority = message.priority if message.HasField("priority") else None
    if priority is not None:
        fields.whole_number(f"{at}.priority", priority, -1_000_000, 1_000_000)
    handling_minutes = message.handling_minutes if message.HasField("handling_minutes") else None
    if handling_minutes is not None:
        fields.whole_number(f"{at}.handling_minutes", handling_minutes, 0, limits.HANDLING_MINUTES)
    if message.working_time.closed_on_public_holidays:
        problem = public_holidays.problem_with(message.country or None, message.region or None)
        if problem is not None:
            fields.wrong(f"{at}.working_time.closed_on_public_holidays", problem)
    return {
        "id": fields.retailer_id(f"{at}.location_id", message.location_id),
        "type": _word(fields, f"{at}.type", message.type, LOCATION_TYPE),
        "status": _word(fields, f"{at}.status", message.status or 1, LOCATION_STATUS),
        "display_name": fields.text(f"{at}.display_name", message.display_name) or "",
        "tags": sorted(fields.tags(f"{at}.tags", message.tags, limits.LOCATION_TAGS)),
        "country": fields.country(f"{at}.country", message.country),
        "region": fields.text(f"{at}.region", message.region, longest=limits.REGION_LENGTH),
        "postal_code": fields.text(f"{at}.postal_code", message.postal_code, longest=limits.POSTAL_CODE_LENGTH),
        "latitude": point.latitude if point else None,
        "longitude": point.longitude if point else None,
        "time_zone": fields.time_zone(f"{at}.time_zone", message.time_zone),
        "offers_pickup": message.offers_pickup,
        "handling_minutes": handling_minutes,
        "priority": priority,
        "ships_to": ships_to,
        **working_hours.columns(fields, f"{at}.working_time", message.working_time),
        **location_capacity.columns(fields, f"{at}.capacity", message),
    }


def _product(fields: Fields, at: str, message: catalog_pb.Product) -> Row:
    price = fields.money(f"{at}.price", message.price) if message.HasField("price") else None
    velocity = message.velocity_per_day if message.HasField("velocity_per_day") else None
    return {
        "sku": fields.sku(f"{at}.sku", message.sku),
        "display_name": fields.text(f"{at}.display_name", message.display_name) or "",
        "status": _word(fields, f"{at}.status", message.status or 1, PRODUCT_STATUS),
        "tags": sorted(fields.tags(f"{at}.tags", message.tags, limits.PRODUCT_TAGS)),
        "category": fields.text(f"{at}.category", message.category),
        "brand": fields.text(f"{at}.brand", message.brand),
        "price": price,
        "currency": message.price.currency_code if price is not None else None,
        "style": fields.text(f"{at}.style", message.style),
        "barcode": fields.text(f"{at}.barcode", message.barcode),
        **product_details.columns(fields, at, message),
        **_dimensions(fields, at, message),
        "velocity_per_day": None if velocity is None else fields.rate(f"{at}.velocity_per_day", velocity),
    }


def _dimensions(fields: Fields, at: str, message: catalog_pb.Product) -> Row:
    """The dimensions of a product, or its weight alone."""
    names = ("weight_grams", "length_mm", "width_mm", "height_mm")
    weight = message.weight_grams if message.HasField("weight_grams") else None
    if weight is not None:
        fields.whole_number(f"{at}.weight_grams", weight, 1, limits.DIMENSION)
    if not message.HasField("dimensions"):
        return {**dict.fromkeys(names), "weight_grams": weight}
    dimensions = message.dimensions
    if weight not in (None, dimensions.weight_grams):
        problem = f"is {weight}, but dimensions.weight_grams is {dimensions.weight_grams}; state one weight"
        fields.wrong(f"{at}.weight_grams", problem)
    return {
        name: fields.whole_number(f"{at}.dimensions.{name}", getattr(dimensions, name), 1, limits.DIMENSION)
        for name in names
    }


def _channel(fields: Fields, at: str, message: catalog_pb.Channel) -> Row:
    if fields.size(f"{at}.location_ids", message.location_ids, 0, limits.CHANNEL_LOCATIONS):
        for index, location_id in enumerate(message.location_ids):
            fields.text(f"{at}.location_ids[{index}]", location_id, longest=limits.ID_LENGTH, required=True)
    return {
        "id": fields.retailer_id(f"{at}.channel_id", message.channel_id),
        "kind": _word(fields, f"{at}.kind", message.kind, CHANNEL_KIND),
        "display_name": fields.text(f"{at}.display_name", message.display_name) or "",
        "location_ids": sorted(set(message.location_ids)),
        "cancellation_headroom": fields.fraction(f"{at}.cancellation_headroom", message.cancellation_headroom)
        if message.HasField("cancellation_headroom")
        else None,
        "platform": _platform(fields, f"{at}.platform", message.platform),
        "figure_lag_seconds": fields.whole_number(
            f"{at}.figure_lag_seconds", message.figure_lag_seconds, 0, limits.FIGURE_LAG_SECONDS
        ),
        "cancellation_default": _cancellation_default(fields, f"{at}.cancellation_default", message),
        "unpaid_order_seconds": _unpaid_order_seconds(fields, f"{at}.unpaid_order_duration", message),
        "markets": _markets(fields, f"{at}.markets", message.markets),
    }


def _markets(fields: Fields, at: str, markets: Sequence[str]) -> list[str]:
    if fields.size(at, markets, 0, limits.COUNTRIES):
        for index, market in enumerate(markets):
            fields.market(f"{at}[{index}]", market)
    return sorted(set(markets))


def _cancellation_default(fields: Fields, at: str, message: catalog_pb.Channel) -> str | None:
    if message.cancellation_default not in CANCELLATION_DEFAULT:
        names = [name for name, number in catalog_pb.CancellationDefault.items() if number]
        fields.wrong(at, f"{message.cancellation_default} is not one of {', '.join(names)}")
    return CANCELLATION_DEFAULT.get(message.cancellation_default)


def _unpaid_order_seconds(fields: Fields, at: str, message: catalog_pb.Channel) -> int | None:
    if not message.HasField("unpaid_order_duration"):
        return None
    duration, longest = message.unpaid_order_duration, int(limits.UNPAID_ORDER_LONGEST.total_seconds())
    if duration.nanos or not 1 <= duration.seconds <= longest:
        stated = duration.seconds + duration.nanos / 1e9
        fields.wrong(at, f"is {stated:g} s; it must be whole seconds, 1 to {longest} (72 hours)")
        return None
    return duration.seconds


def _platform(fields: Fields, at: str, word: str) -> str | None:
    if word and word not in PLATFORMS:
        fields.wrong(at, f"'{word}' is not a supported platform; use one of {', '.join(PLATFORMS)}, or leave it empty")
    return word or None


def _word(fields: Fields, at: str, number: int, words: Mapping[int, str]) -> str:
    if number not in words:
        fields.wrong(at, f"must be set to one of: {', '.join(words.values())}")
    return words.get(number, "")
