"""The catalog as tables: locations, products, channels, tags and categories."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from service.cli.console import add_row, enum_word, new_table
from service.cli.spreadsheets.cell_values import money_text
from service.cli.views.shipment_views import weekday_text
from truestock.v1.catalog_service_pb2 import Capacity, Channel, Location, Product
from truestock.v1.kit_pb2 import Kit
from truestock.v1.listing_pb2 import Listing

DAYS_SHOWN = 2
"""Days of which it is shown what is taken of a location's capacity."""


def print_locations(console: Console, locations: Sequence[Location]) -> None:
    """Prints locations, by id."""
    if not locations:
        console.print("No matching locations. `truestock import locations FILE.csv` adds some.")
        return
    shows_capacity = any(location.HasField("capacity") for location in locations)
    headings = ("location", "name", "type", "status", "country", "region", "tags")
    table = new_table(*headings, *(["taken of its capacity"] if shows_capacity else []))
    for location in locations:
        capacity = [_capacity_text(location.capacity)] if shows_capacity else []
        add_row(
            table,
            location.location_id,
            location.display_name or "-",
            enum_word(Location.Type, location.type, "TYPE_"),
            enum_word(Location.Status, location.status, "STATUS_"),
            location.country or "-",
            location.region or "-",
            ", ".join(location.tags) or "-",
            *capacity,
        )
    console.print(table)


def _capacity_text(capacity: Capacity) -> str:
    """What is taken of each day with a limit, such as `Fri 27 Nov: 38 of 40 orders`; hours are left to `--json`."""
    if not (capacity.HasField("orders_per_day") or capacity.HasField("units_per_day")):
        hourly = [capacity.HasField("orders_per_hour"), capacity.HasField("units_per_hour")]
        return "by the hour" if any(hourly) else "-"
    days = [taken for taken in capacity.taken if not taken.HasField("hour")]
    texts = [f"{weekday_text(x.day)}: {_taken_text(capacity, x.order_count, x.unit_count)}" for x in days[:DAYS_SHOWN]]
    return ", ".join(texts) or _taken_text(capacity, 0, 0)


def _taken_text(capacity: Capacity, orders: int, units: int) -> str:
    texts = [f"{orders} of {capacity.orders_per_day} orders"] if capacity.HasField("orders_per_day") else []
    texts += [f"{units} of {capacity.units_per_day} units"] if capacity.HasField("units_per_day") else []
    return " and ".join(texts)


def print_products(console: Console, products: Sequence[Product]) -> None:
    """Prints products, by SKU."""
    if not products:
        console.print("No matching products. `truestock import products FILE.csv` adds some.")
        return
    table = new_table("SKU", "name", "status", "category", "brand", "price", "tags", numbers=("price",))
    for product in products:
        price = f"{money_text(product.price)} {product.price.currency_code}" if product.HasField("price") else "-"
        add_row(
            table,
            product.sku,
            product.display_name or "-",
            enum_word(Product.Status, product.status, "STATUS_"),
            product.category or "-",
            product.brand or "-",
            price,
            ", ".join(product.tags) or "-",
        )
    console.print(table)


def print_channels(console: Console, channels: Sequence[Channel]) -> None:
    """Prints channels, by id."""
    if not channels:
        console.print("No matching channels. `truestock import channels FILE.csv` adds some.")
        return
    table = new_table("channel", "name", "kind", "platform", "markets", "locations")
    for channel in channels:
        kind = enum_word(Channel.Kind, channel.kind, "KIND_")
        locations = ", ".join(channel.location_ids) or "all"
        markets = ", ".join(channel.markets) or "-"
        add_row(
            table, channel.channel_id, channel.display_name or "-", kind, channel.platform or "-", markets, locations
        )
    console.print(table)


def print_listings(console: Console, listings: Sequence[Listing]) -> None:
    """Prints listings, by channel and item."""
    if not listings:
        console.print("No matching listings. `truestock import listings FILE.csv` adds some.")
        return
    table = new_table("channel", "item", "SKU", "units", numbers=("units",))
    for listing in listings:
        add_row(table, listing.channel_id, listing.item_id, listing.sku, listing.unit_count)
    console.print(table)


def print_kits(console: Console, kits: Sequence[Kit]) -> None:
    """Prints kits, by SKU."""
    if not kits:
        console.print("No matching kits. `truestock import kits FILE.csv` adds some.")
        return
    table = new_table("kit", "components", "shipped")
    for kit in kits:
        components = ", ".join(f"{component.unit_count} x {component.sku}" for component in kit.components)
        add_row(table, kit.sku, components, "apart if need be" if kit.may_split else "together")
    console.print(table)


def print_counts(console: Console, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints names with how many records have each; the first column is the name."""
    if not rows:
        console.print(f"No {columns[0]} yet.")
        return
    table = new_table(*columns, numbers=columns[1:])
    for row in rows:
        add_row(table, *row)
    console.print(table)
