"""Commands that list the catalog: locations, products, channels, tags and categories, whose ids and words rules use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import typer
from rich.console import Console

from service.cli import options, unknown_names
from service.cli.client import Client, call
from service.cli.console import print_json, stdout_console
from service.cli.files.csv_export import CsvWriter, write_table
from service.cli.files.file_kinds import KINDS
from service.cli.listed_entries import say_more
from service.cli.views import catalog_views
from truestock.v1.catalog_service_pb2 import (
    Channel,
    ListCategoriesRequest,
    ListChannelsRequest,
    ListLocationsRequest,
    ListProductsRequest,
    ListTagsRequest,
    Location,
    Product,
)

LOCATION_TYPES = options.enum_words(Location.Type, "TYPE_")
LOCATION_STATUSES = options.enum_words(Location.Status, "STATUS_")
PRODUCT_STATUSES = options.enum_words(Product.Status, "STATUS_")
CHANNEL_KINDS = options.enum_words(Channel.Kind, "KIND_")

Entry = TypeVar("Entry")
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000_000, help="Maximum number of entries.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV with the columns that `truestock import` reads.")]
PlainCsv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
TagFilter = Annotated[list[str] | None, typer.Option("--tag", help="Only with this tag; repeatable.")]


def locations(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[LOCATION…]", help="All by default.")] = None,
    type_: Annotated[
        list[str] | None,
        typer.Option("--type", help=f"Only this type; repeatable: {', '.join(LOCATION_TYPES)}."),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", help=f"Only this status; repeatable: {', '.join(LOCATION_STATUSES)}."),
    ] = None,
    tag: TagFilter = None,
    country: Annotated[list[str] | None, typer.Option("--country", help="Only in this country; repeatable.")] = None,
    limit: Limit = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
    as_csv: Csv = False,
) -> None:
    """Lists locations with their ids, by id.

    \b
    Examples:
      truestock locations
      truestock locations --type store --country US
      truestock locations --tag street-level --csv
    """
    check_form(as_json=as_json, as_csv=as_csv)
    request = ListLocationsRequest(
        location_ids=ids or [],
        types=[options.word("--type", word, LOCATION_TYPES) for word in type_ or []],
        statuses=[options.word("--status", word, LOCATION_STATUSES) for word in status or []],
        tags=tag or [],
        countries=[options.country_filter(name) for name in country or []],
    )

    async def read(client: Client) -> Listing[Location]:
        found, more = await client.list_entries(
            client.catalog.ListLocations, request, lambda page: page.locations, limit
        )
        unknown = await unknown_names.unknown_locations(client, ids or [])
        unknown += await unknown_names.unknown_words(client, tags=() if found else tag or ())
        return Listing(found, more, unknown)

    show("locations", call(server, read), catalog_views.print_locations, as_json=as_json, as_csv=as_csv)


def products(
    context: typer.Context,
    skus: Annotated[list[str] | None, typer.Argument(metavar="[SKU…]", help="At most 500; all by default.")] = None,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", help=f"Only this status; repeatable: {', '.join(PRODUCT_STATUSES)}."),
    ] = None,
    tag: TagFilter = None,
    category: Annotated[list[str] | None, typer.Option("--category", help="Only this category; repeatable.")] = None,
    brand: Annotated[list[str] | None, typer.Option("--brand", help="Only this brand; repeatable.")] = None,
    limit: Limit = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
    as_csv: Csv = False,
) -> None:
    """Lists products with their SKUs, by SKU. The subcommand check says which of them a channel cannot list.

    \b
    Examples:
      truestock products
      truestock products TRN-1205-MOS
      truestock products --category shelter --tag oversize --csv
      truestock products check --channel tiktok_shop
    """
    if context.invoked_subcommand is not None:
        return
    check_form(as_json=as_json, as_csv=as_csv)
    request = ListProductsRequest(
        skus=skus or [],
        statuses=[options.word("--status", word, PRODUCT_STATUSES) for word in status or []],
        tags=tag or [],
        categories=category or [],
        brands=brand or [],
    )

    async def read(client: Client) -> Listing[Product]:
        found, more = await client.list_entries(client.catalog.ListProducts, request, lambda page: page.products, limit)
        unknown = await unknown_names.unknown_products(client, skus or [])
        unknown += await unknown_names.unknown_words(
            client, tags=() if found else tag or (), categories=() if found else category or ()
        )
        return Listing(found, more, unknown)

    show("products", call(server, read), catalog_views.print_products, as_json=as_json, as_csv=as_csv)


def channels(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[CHANNEL…]", help="All by default.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help=f"Only this kind; repeatable: {', '.join(CHANNEL_KINDS)}."),
    ] = None,
    limit: Limit = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
    as_csv: Csv = False,
) -> None:
    """Lists channels with their ids, by id.

    \b
    Examples:
      truestock channels
      truestock channels --kind social --json
    """
    check_form(as_json=as_json, as_csv=as_csv)
    request = ListChannelsRequest(
        channel_ids=ids or [], kinds=[options.word("--kind", word, CHANNEL_KINDS) for word in kind or []]
    )

    async def read(client: Client) -> Listing[Channel]:
        found, more = await client.list_entries(client.catalog.ListChannels, request, lambda page: page.channels, limit)
        unknown = await unknown_names.unknown_channels(client, ids or [])
        return Listing(found, more, unknown)

    show("channels", call(server, read), catalog_views.print_channels, as_json=as_json, as_csv=as_csv)


def tags(
    limit: Limit = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
    as_csv: PlainCsv = False,
) -> None:
    """Lists the tags of locations and products, and how many have each.

    \b
    Examples:
      truestock tags
      truestock products --tag fragile
    """
    check_form(as_json=as_json, as_csv=as_csv)

    async def read(client: Client) -> tuple[list[Any], bool]:
        return await client.list_entries(client.catalog.ListTags, ListTagsRequest(), lambda page: page.tags, limit)

    found, more = call(server, read)
    rows = [(tag.name, tag.location_count, tag.product_count) for tag in found]
    _show_counts(found, ("tag", "locations", "products"), rows, more=more, as_json=as_json, as_csv=as_csv)


def categories(
    limit: Limit = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
    as_csv: PlainCsv = False,
) -> None:
    """Lists the categories of products, and how many products are in each.

    \b
    Examples:
      truestock categories
      truestock products --category shelter
    """
    check_form(as_json=as_json, as_csv=as_csv)

    async def read(client: Client) -> tuple[list[Any], bool]:
        return await client.list_entries(
            client.catalog.ListCategories, ListCategoriesRequest(), lambda page: page.categories, limit
        )

    found, more = call(server, read)
    rows = [(category.name, category.product_count) for category in found]
    _show_counts(found, ("category", "products"), rows, more=more, as_json=as_json, as_csv=as_csv)


@dataclass(frozen=True, slots=True)
class Listing(Generic[Entry]):
    """The entries of a list, whether there are more, and sentences about names that the catalog does not have."""

    entries: Sequence[Entry]
    more: bool
    unknown: Sequence[str]


def show(
    kind: str,
    listing: Listing[Entry],
    print_table: Callable[[Console, Sequence[Entry]], None],
    *,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Prints the list in the chosen form. Exits with EXIT_UNKNOWN if names are unknown."""
    if as_json:
        print_json(list(listing.entries))
    elif as_csv:
        CsvWriter(KINDS[kind], sys.stdout).write(listing.entries)
    else:
        print_table(stdout_console(), listing.entries)
    say_more(len(listing.entries), "entry", "entries", more=listing.more)
    unknown_names.refuse_unknown(listing.unknown)


def _show_counts(
    entries: Sequence[Any],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    more: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    if as_json:
        print_json(list(entries))
    elif as_csv:
        write_table(sys.stdout, columns, rows)
    else:
        catalog_views.print_counts(stdout_console(), columns, rows)
    say_more(len(entries), "entry", "entries", more=more)


def check_form(*, as_json: bool, as_csv: bool) -> None:
    """Raises BadParameter if both forms are asked for."""
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other; give one of them")
