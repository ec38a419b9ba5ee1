"""The stock of one product as tables: levels with their source and age, promised orders, incoming units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import time

from rich.console import Console, RenderableType
from rich.text import Text

from service.cli.console import add_row, count, enum_word, format_ago, format_time, new_table
from service.cli.stock_overview import LocationStock, NextShipDate, StockOverview
from service.cli.views.outlet_views import print_outlet_figures
from truestock.v1.availability_service_pb2 import Availability
from truestock.v1.stock_service_pb2 import StockLevel, UnavailableReason


def print_overview(console: Console, overview: StockOverview, channel_id: str) -> None:
    """Prints one product's stock: a headline, then one table for each aspect that has rows."""
    locations = overview.locations
    console.print(_headline(overview))
    console.print(_locations(locations, channel_id))
    if overview.availability is not None and overview.availability.outlets:
        print_outlet_figures(console, [overview.availability])
    for table in (*_promised_orders(locations), *_unavailable(locations), *_incoming(locations)):
        console.print(table)


def _headline(overview: StockOverview) -> Text:
    product = overview.product
    name = f"  {product.display_name}" if product.display_name else ""
    headline = Text.assemble((product.sku, "bold"), name)
    if product.HasField("velocity_per_day"):
        headline.append(f"\nPlanned sales: {product.velocity_per_day:g} a day.")
    elif product.HasField("learned_velocity_per_day"):
        headline.append(f"\nLearned sales: {product.learned_velocity_per_day:g} a day.")
    if overview.availability is not None:
        headline.append(f"\n{published(overview.availability)}")
    return headline


def published(availability: Availability) -> str:
    """The published figure, and the units of the locations that are not part of it."""
    text = f"The channel may sell {count(availability.sellable_count, 'unit')} now"
    kept = (
        [f"{availability.channel_buffer_count:,} as the channel's buffer"] if availability.channel_buffer_count else []
    )
    if availability.unpublished_count:
        kept.append(f"{availability.unpublished_count:,} that its cut-off or cap leaves unpublished")
    if not kept:
        return f"{text}."
    at_locations = sum(location.sellable_count for location in availability.locations)
    return f"{text}: {at_locations:,} at its locations, less {' and '.join(kept)}."


def _locations(locations: Sequence[LocationStock], channel_id: str) -> RenderableType:
    numbers = ("on hand", "not sellable", "held", "allocated", "available")
    channel_columns = ("sellable", "why not more") if channel_id else ()
    provenance = ("updated", "source", "last counted", "confidence", "ships next")
    columns = (*numbers, *provenance, *channel_columns)
    table = new_table("location", *columns, numbers=(*numbers, "sellable"), title="Stock by location")
    for location in locations:
        level = location.level
        counts = (level.on_hand_count, level.unavailable_count, level.held_count, level.allocated_count)
        cells = [level.location_id, *counts, level.available_count, *_provenance(level), _ship_date(location)]
        if channel_id:
            cells += _channel_cells(location)
        add_row(table, *cells)
    return table


def _provenance(level: StockLevel) -> tuple[str, str, str, str]:
    """The level's age, its source, its last count by a person, and the chance that its figure is right."""
    updated = format_ago(level.as_of_time, "never")
    source = f"{level.source} (no longer tracked)" if level.untracked else level.source or "-"
    # A confidence has three decimals; all are shown, so that 89.8 % does not read 90 % beside a rule for 90 %.
    confidence = f"{level.count_confidence:.1%}" if level.HasField("count_confidence") else "-"

    return updated, source, format_ago(level.physical_count_time, "never"), confidence


def _ship_date(location: LocationStock) -> str:
    if location.next_ship_date is None:
        return "never: closed"
    status = "" if location.status == "open" else f" ({location.status})"
    return f"{_ship_time(location.next_ship_date)}{status}"


def _ship_time(ship_date: NextShipDate) -> str:
    if not ship_date.is_handling_known:
        return "unknown: no handling time stated"
    if ship_date.day is None:
        return "not within a year"
    day = "today" if ship_date.is_today else f"{ship_date.day:%a %Y-%m-%d}"
    if ship_date.closing_time is None:
        return day
    closing_time = "24:00" if ship_date.closing_time == time.min else f"{ship_date.closing_time:%H:%M}"
    return f"{day} by {closing_time} {ship_date.time_zone}"


def _channel_cells(location: LocationStock) -> tuple[int | str, str]:
    if location.availability is None:
        return 0, "not one of the channel's locations"
    buffer_count = location.availability.buffer_count
    buffer = [f"buffer of {count(buffer_count, 'unit')}"] if buffer_count else []
    return location.availability.sellable_count, "; ".join([*location.availability.reasons, *buffer]) or "-"


def _promised_orders(locations: Sequence[LocationStock]) -> Iterator[RenderableType]:
    table = new_table("location", "order", "units", "state", numbers=("units",), title="Promised to orders")
    for location in locations:
        for promise in location.promises:
            state = "sold" if promise.expire_time is None else f"held until {format_time(promise.expire_time)}"
            add_row(table, location.level.location_id, promise.order, promise.unit_count, state)
        promised_count = location.level.held_count + location.level.allocated_count
        remaining = promised_count - sum(promise.unit_count for promise in location.promises)
        if remaining > 0:
            add_row(table, location.level.location_id, "other orders", remaining, "listed by `truestock movements`")
    if table.row_count:
        yield table


def _unavailable(locations: Sequence[LocationStock]) -> Iterator[RenderableType]:
    table = new_table("location", "units", "reason", numbers=("units",), title="Not sellable")
    for location in locations:
        for unavailable in location.level.unavailable:
            reason = enum_word(UnavailableReason, unavailable.reason, "UNAVAILABLE_REASON_")
            add_row(table, location.level.location_id, unavailable.unit_count, reason)
    if table.row_count:
        yield table


def _incoming(locations: Sequence[LocationStock]) -> Iterator[RenderableType]:
    table = new_table("location", "units", "expected", "reference", numbers=("units",), title="Incoming")
    for location in locations:
        for incoming in location.level.incoming:
            expected = format_time(incoming.expect_time) if incoming.HasField("expect_time") else "unknown"
            add_row(table, location.level.location_id, incoming.unit_count, expected, incoming.reference)
    if table.row_count:
        yield table
