"""The catalog as tables: locations, products, channels, tags and categories."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from service.cli.console import add_row, enum_word, new_table
from service.cli.spreadsheets.cell_values import money_text
from truestock.v1.catalog_service_pb2 import Channel, Location, Product
from truestock.v1.kit_pb2 import Kit
from truestock.v1.listing_pb2 import Listing


def print_locations(console: Console, locations: Sequence[Location]) -> None:
    """Prints locations, by id."""
    if not locations:
        console.print("No matching locations. `truestock import locations FILE.csv` adds some.")
        return
    table = new_table("location", "name", "type", "status", "country", "region", "tags")
    for location in locations:
        add_row(
            table,
            location.location_id,
            location.display_name or "-",
            enum_word(Location.Type.Name(location.type), "TYPE_"),
            enum_word(Location.Status.Name(location.status), "STATUS_"),
            location.country or "-",
            location.region or "-",
            ", ".join(location.tags) or "-",
        )
    console.print(table)


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
            enum_word(Product.Status.Name(product.status), "STATUS_"),
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
    table = new_table("channel", "name", "kind", "platform", "locations")
    for channel in channels:
        kind = enum_word(Channel.Kind.Name(channel.kind), "KIND_")
        locations = ", ".join(channel.location_ids) or "all"
        add_row(table, channel.channel_id, channel.display_name or "-", kind, channel.platform or "-", locations)
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
