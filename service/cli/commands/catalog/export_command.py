"""`truestock export`: writes the CSV files that `truestock import` reads."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from service.cli import options
from service.cli.client import Client, call
from service.cli.console import count, print_json, progress_bar, say
from service.cli.files.csv_export import ExportReport, export_records, whole_file

STDOUT = Path("-")


class ExportKind(StrEnum):
    """What can be exported."""

    LOCATIONS = "locations"
    PRODUCTS = "products"
    CHANNELS = "channels"
    POOLS = "pools"
    OUTLETS = "outlets"
    LISTINGS = "listings"
    KITS = "kits"
    FEEDS = "feeds"
    STOCK = "stock"


def export(
    what: Annotated[ExportKind, typer.Argument(help="The kind of records to export.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE.csv", help="The file to write, in place of an older one; - for stdout.")
    ],
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Exports all records of one kind as a CSV file that `truestock import` reads.

    To fill an empty service, import locations, products, channels, kits,
    pools, outlets, listings, stock and then feeds: once a feed owns a stock level, other counts are only compared.

    A stock level is exported as a count at the time at which its figure was
    last true, by a person only if nothing has moved since. Units held or
    allocated for orders, and units on their way, are not part of a count.

    \b
    Examples:
      truestock export locations locations.csv
      truestock export stock stock.csv
      truestock export products - | grep TRN-
    """
    report = _to_stdout(what.value, server) if file == STDOUT else _to_file(what.value, file, server)
    if report.uncounted:
        levels = count(report.uncounted, "stock level has", "stock levels have")
        say(f"{levels} no figure yet and no row.")
    if report.below_zero:
        levels = count(report.below_zero, "stock level is", "stock levels are")
        say(f"{levels} below 0 or below the units that are not sellable, and exported as the nearest possible count.")
    if file == STDOUT:
        return
    if as_json:
        print_json({"file": str(file)} | report.as_dict())
    else:
        say(f"{file}: {count(report.rows, 'row')}")


def _to_stdout(name: str, server: str) -> ExportReport:
    async def work(client: Client) -> ExportReport:
        return await export_records(client, name, sys.stdout)

    return call(server, work)


def _to_file(name: str, path: Path, server: str) -> ExportReport:
    async def work(client: Client) -> ExportReport:
        with whole_file(path) as stream, progress_bar("rows") as bar:
            task = bar.add_task(f"Exporting {name}", total=None)
            return await export_records(client, name, stream, advance=lambda done: bar.advance(task, done))

    return call(server, work)
