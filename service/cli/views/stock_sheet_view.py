"""The stock of one product as a planner reads it: where it sits, who said so, for whom it is, and what is coming."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, RenderableType
from rich.text import Text

from service.cli.console import age, clock, count, enum_word, row, table
from service.cli.stock_sheet import LocationStock, NextShipDay, Sheet
from truestock.v1.stock_service_pb2 import StockLevel, UnavailableReason


def print_sheet(console: Console, sheet: Sheet, channel_id: str) -> None:
    """Everything that is known of one product's stock."""
    console.print(_headline(sheet))
    console.print(_places(sheet.places, channel_id))
    for part in (*_promises(sheet.places), *_unavailable(sheet.places), *_incoming(sheet.places)):
        console.print(part)


def _headline(sheet: Sheet) -> Text:
    product = sheet.product
    name = f"  {product.display_name}" if product.display_name else ""
    made = Text.assemble((product.sku, "bold"), name)
    if product.HasField("velocity_per_day"):
        made.append(f"\nPlanners expect to sell {product.velocity_per_day:g} a day.")
    elif product.HasField("learned_velocity_per_day"):
        made.append(f"\nSells {product.learned_velocity_per_day:g} a day, as its sales tell.")
    if sheet.told is not None:
        made.append(f"\nThe channel may sell {count(sheet.told.sellable_count, 'unit')} now.")
    return made


def _places(places: Sequence[LocationStock], channel_id: str) -> RenderableType:
    numbers = ("on hand", "not sellable", "held", "allocated", "available")
    told = ("sellable", "why not more") if channel_id else ()
    said = ("figure age", "said by", "last counted", "trusted", "an order now leaves")
    made = table("location", *numbers, *said, *told, numbers=(*numbers, "sellable"), title="Where it is")
    for place in places:
        level = place.level
        counts = (level.on_hand_count, level.unavailable_count, level.held_count, level.allocated_count)
        cells = [level.location_id, *counts, level.available_count, *_said(level), _leaves(place)]
        if channel_id:
            cells += _told(place)
        row(made, *cells)
    return made


def _said(level: StockLevel) -> tuple[str, str, str, str]:
    """How old the figure is, who said it, when somebody counted, and the share of counts that were right."""
    figure = age(level.as_of_time) if level.HasField("as_of_time") else "never heard"
    source = f"{level.source} (no longer tracked)" if level.untracked else level.source or "-"
    counted = level.physical_count_time if level.HasField("physical_count_time") else level.counted_time
    trusted = f"{level.count_confidence:.0%}" if level.HasField("count_confidence") else "-"
    ago = age(counted)
    return figure, source, "never" if ago == "-" else f"{ago} ago", trusted


def _leaves(place: LocationStock) -> str:
    leaving = place.leaving
    if leaving is None:
        return "not: it is closed"
    status = "" if place.status == "open" else f" ({place.status})"
    return f"{_when(leaving)}{status}"


def _when(leaving: NextShipDay) -> str:
    if leaving.day is None:
        return "not within a year"
    day = "today" if leaving.today else f"{leaving.day:%a %Y-%m-%d}"
    return day if leaving.closes is None else f"{day} by {leaving.closes:%H:%M} {leaving.time_zone}"


def _told(place: LocationStock) -> tuple[int | str, str]:
    if place.told is None:
        return 0, "not one of the channel's locations"
    kept = [f"{count(place.told.buffer_count, 'unit')} kept back"] if place.told.buffer_count else []
    return place.told.sellable_count, "; ".join([*place.told.reasons, *kept]) or "-"


def _promises(places: Sequence[LocationStock]) -> Iterator[RenderableType]:
    made = table("location", "order", "units", "how", numbers=("units",), title="Promised to")
    for place in places:
        for one in place.promises:
            how = "sold" if one.expire_time is None else f"held until {clock(one.expire_time)}"
            row(made, place.level.location_id, one.order, one.unit_count, how)
        all_units = place.level.held_count + place.level.allocated_count
        rest = all_units - sum(one.unit_count for one in place.promises)
        if rest > 0:
            row(made, place.level.location_id, "other orders", rest, "`truestock movements` lists them")
    if made.row_count:
        yield made


def _unavailable(places: Sequence[LocationStock]) -> Iterator[RenderableType]:
    made = table("location", "units", "why", numbers=("units",), title="Not sellable")
    for place in places:
        for one in place.level.unavailable:
            why = enum_word(UnavailableReason.Name(one.reason), "UNAVAILABLE_REASON_")
            row(made, place.level.location_id, one.unit_count, why)
    if made.row_count:
        yield made


def _incoming(places: Sequence[LocationStock]) -> Iterator[RenderableType]:
    made = table("location", "units", "expected", "delivery", numbers=("units",), title="On its way")
    for place in places:
        for one in place.level.incoming:
            expected = clock(one.expect_time) if one.HasField("expect_time") else "nobody knows when"
            row(made, place.level.location_id, one.unit_count, expected, one.reference)
    if made.row_count:
        yield made
