"""`truestock import`: one command for each kind of file, with the columns of that file in its help."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from service.cli import options
from service.cli.client import Client, call
from service.cli.console import UserError, count, first_lines, print_json, progress_bar, say, stdout_console
from service.cli.files.csv_import import import_file
from service.cli.files.file_kinds import KINDS
from service.cli.files.import_calls import ImportReport
from service.cli.files.import_file import ImportFile, read_import
from service.cli.files.stock_import import StockImport
from service.cli.spreadsheets.decimal_marks import DecimalMark
from service.cli.views.stock_views import print_import

PROBLEMS_SHOWN = 50

_OVERVIEW = """Imports a CSV file of the catalog or of stock counts, all rows or none.

    Every row is checked before the first is written, and every problem is
    reported as FILE:LINE:COLUMN. A row of the catalog replaces the whole record
    with its id.

    Cells may be separated by comma, semicolon, tab or |, as a line `sep=;` or
    the header shows. Columns may be in any order and letter case. Zeros may be
    guarded, ="0012" or '0012, and decimals written with a comma. `|` separates
    the entries of a cell, and \\| is a | inside an entry.

    Each command's --help lists the columns of its file; `truestock export`
    writes such files.

    \b
    Examples:
      truestock import locations --help
      truestock import locations locations.csv
      truestock import products products.csv --encoding cp1252 --decimal comma
      truestock import stock counts.csv --source stocktake-austin
"""
app = typer.Typer(name="import", no_args_is_help=True, rich_markup_mode="rich", help=_OVERVIEW)

File = Annotated[Path, typer.Argument(metavar="FILE.csv", help="The CSV file.", show_default=False)]


def _help(name: str, example: str, more: str = "") -> str:
    """The help of one command, with the columns of its file."""
    kind = KINDS[name]
    columns = "\n".join(
        f"  {column.name}{' (required)' if column.required else ''}: {column.help}" for column in kind.columns
    )
    first = f"Imports a CSV file of {name}, all rows or none." if name != "stock" else "Imports a CSV file of counts."
    replaces = "" if name == "stock" else f"A row replaces the whole {kind.noun} with its id.\n\n"
    return f"{first}\n\n{replaces}{more}\b\nExamples:\n{example}\n\n\b\nColumns:\n{columns}"


@app.command(help=_help("locations", "  truestock import locations locations.csv"))
def locations(
    file: File,
    decimal: options.Decimals = None,
    encoding: options.Encoding = "utf-8",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Imports locations."""
    _run("locations", file, decimal, encoding, server, as_json=as_json)


@app.command(
    help=_help(
        "products",
        "  truestock import products products.csv\n"
        "  truestock import products products.csv --encoding cp1252 --decimal comma",
    )
)
def products(
    file: File,
    decimal: options.Decimals = None,
    encoding: options.Encoding = "utf-8",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Imports products."""
    _run("products", file, decimal, encoding, server, as_json=as_json)


@app.command(help=_help("channels", "  truestock import channels channels.csv"))
def channels(
    file: File,
    decimal: options.Decimals = None,
    encoding: options.Encoding = "utf-8",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Imports channels."""
    _run("channels", file, decimal, encoding, server, as_json=as_json)


@app.command(help=_help("kits", "  truestock import kits kits.csv"))
def kits(
    file: File,
    decimal: options.Decimals = None,
    encoding: options.Encoding = "utf-8",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Imports kits."""
    _run("kits", file, decimal, encoding, server, as_json=as_json)


@app.command(help=_help("listings", "  truestock import listings listings.csv"))
def listings(
    file: File,
    decimal: options.Decimals = None,
    encoding: options.Encoding = "utf-8",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Imports listings."""
    _run("listings", file, decimal, encoding, server, as_json=as_json)


@app.command(help=_help("pools", "  truestock import pools pools.csv"))
def pools(
    file: File,
    decimal: options.Decimals = None,
    encoding: options.Encoding = "utf-8",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Imports pools, which are named sets of locations."""
    _run("pools", file, decimal, encoding, server, as_json=as_json)


@app.command(help=_help("outlets", "  truestock import outlets outlets.csv"))
def outlets(
    file: File,
    decimal: options.Decimals = None,
    encoding: options.Encoding = "utf-8",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Imports outlets: what channels call their locations or warehouses."""
    _run("outlets", file, decimal, encoding, server, as_json=as_json)


@app.command(help=_help("feeds", "  truestock import feeds feeds.csv"))
def feeds(
    file: File,
    decimal: options.Decimals = None,
    encoding: options.Encoding = "utf-8",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Imports declared feeds."""
    _run("feeds", file, decimal, encoding, server, as_json=as_json)


_STOCK_HELP = """A stock file counts once a day, by the date at each location: importing it
again on that day, by mistake or after a break, changes nothing, and the next
day the same figures are a new count. --again counts it again at once.

It is taken as counted by people, unless its column computed, the option
--computed or the feed's declaration says that a program wrote it, such as the
nightly export of a till. Only a person's count is evidence that a figure is
right (stock.count_confidence).

"""


@app.command(
    help=_help(
        "stock",
        "  truestock import stock counts.csv --source stocktake-austin\n"
        "  truestock import stock export.csv --source till-export --computed\n"
        "  truestock import stock counts.csv --source stocktake-austin --again",
        _STOCK_HELP,
    )
)
def stock(
    file: File,
    source: Annotated[str, typer.Option("--source", help="Source of the counts, such as stocktake-austin.")] = "import",
    computed: Annotated[
        bool | None,
        typer.Option(
            "--computed/--counted",
            help="The figures are written by a program, or counted by people. Default: as the feed declares.",
            show_default=False,
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Count a file again that was imported on the same day.")
    ] = False,
    decimal: options.Decimals = None,
    encoding: options.Encoding = "utf-8",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Imports counts."""
    taken = StockImport(source, computed, again)
    _run("stock", file, decimal, encoding, server, as_json=as_json, stock=taken)


def _run(
    name: str,
    path: Path,
    decimal: DecimalMark | None,
    encoding: str,
    server: str,
    *,
    as_json: bool,
    stock: StockImport | None = None,
) -> None:
    file = read_import(path, name, decimal=decimal, encoding=encoding)
    report = call(server, _import(file, stock))
    if as_json:
        print_json(report.as_dict())
    else:
        print_import(stdout_console(), report)
    say(*first_lines(report.stale, PROBLEMS_SHOWN))
    if report.dropped:
        dropped = count(report.dropped, "older quarantined row was", "older quarantined rows were")
        say(f"{dropped} dropped: the quarantine keeps no more of this source.")
    if report.quarantined:
        quarantined = count(len(report.quarantined), "row was", "rows were")
        advice = f"{quarantined} quarantined; correct the file and import it again."
        raise UserError(
            "\n".join([*first_lines(report.quarantined, PROBLEMS_SHOWN), advice]),
            code="QUARANTINED",
            fields=[problem.as_field() for problem in report.quarantined[:PROBLEMS_SHOWN]],
        )


def _import(file: ImportFile, stock: StockImport | None) -> Callable[[Client], Awaitable[ImportReport]]:
    async def work(client: Client) -> ImportReport:
        with progress_bar("rows") as bar:
            task = bar.add_task(f"Importing {file.name}", total=len(file.records))
            return await import_file(client, file, stock=stock, advance=lambda done: bar.advance(task, done))

    return work
