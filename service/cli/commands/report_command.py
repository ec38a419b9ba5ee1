"""`truestock report`: the six rates of any window of time."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from service.cli import options
from service.cli.client import Client, call
from service.cli.console import UserError, print_json, say, stdout_console
from service.cli.files.csv_export import whole_file, write_table
from service.cli.report.report_view import CSV_COLUMNS, csv_rows, print_report
from truestock.v1 import report_service_pb2 as report_pb

STEPS = options.enum_words(report_pb.ReportStep, "REPORT_STEP_")
DIMENSIONS = options.enum_words(report_pb.ReportDimension, "REPORT_DIMENSION_")
PAGE_DIMENSIONS = (
    report_pb.REPORT_DIMENSION_CHANNEL,
    report_pb.REPORT_DIMENSION_LOCATION,
    report_pb.REPORT_DIMENSION_SOURCE,
    report_pb.REPORT_DIMENSION_RULE,
)
"""What the page is broken down by unless `--by` says."""


def report(
    since: Annotated[
        str, typer.Option("--since", metavar="TIME|AGE", help="The start of the window, such as 12h, 7d or 4w.")
    ] = "7d",
    until: Annotated[
        str, typer.Option("--until", metavar="TIME|AGE", help="Its end, which does not belong to it; now by default.")
    ] = "",
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="WHAT", help=f"Also by one of {', '.join(DIMENSIONS)}; repeatable."),
    ] = None,
    step: Annotated[str, typer.Option("--step", metavar="LENGTH", help=f"Also by {', '.join(STEPS)}.")] = "",
    channel: Annotated[list[str] | None, typer.Option("--channel", help="Only this channel; repeatable.")] = None,
    location: Annotated[list[str] | None, typer.Option("--location", help="Only this location; repeatable.")] = None,
    time_zone: Annotated[
        str, typer.Option("--time-zone", metavar="ZONE", help="Such as America/Chicago; that of the rules by default.")
    ] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV: a row for each rate, period and group.")] = False,
    oversells: Annotated[
        bool, typer.Option("--oversells", help="Also list what was oversold, and what would have avoided each.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page for people to read and print."),
    ] = None,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Reports how well channels sold and locations fulfilled, and whether that is better than before.

    The six rates: oversold and cancelled units, exceptions, counts that differed, late shipments, and orders that
    needed a person. They are exact, from the database.

    \b
    Examples:
      truestock report --since 7d
      truestock report --since 24h --by channel --by location
      truestock report --since 4w --step day --csv > rates.csv
      truestock report --since 24h --channel tiktok_shop --oversells
      truestock report --since 7d --html report.html
    """
    if as_csv + as_json + (html is not None) > 1:
        raise typer.BadParameter("--csv, --json and --html are different forms; choose one")
    request = report_pb.GetReportRequest(
        since_time=options.past_time(since, "--since"),
        until_time=options.past_time(until, "--until"),
        step=options.word("--step", step, STEPS) if step else report_pb.REPORT_STEP_UNSPECIFIED,
        time_zone=time_zone,
        dimensions=[options.word("--by", word, DIMENSIONS) for word in by or []],
        channel_ids=channel or [],
        location_ids=location or [],
        include_previous=True,
        include_oversells=oversells,
    )
    if html is not None:
        _write_page(html, request, server)
        return
    answer = call(server, lambda client: _asked(client, request))
    if as_json:
        print_json(answer)
    elif as_csv:
        write_table(sys.stdout, CSV_COLUMNS, csv_rows(answer))
    else:
        print_report(stdout_console(), answer)


def _write_page(path: Path, request: report_pb.GetReportRequest, server: str) -> None:
    """Writes the page of a report, by all that it can be broken down by and in steps that read well."""
    try:
        from service.cli.report import report_page
    except ModuleNotFoundError as error:
        message = f"--html needs the Python package {error.name}; install it with `pip install 'truestock[report]'`"
        raise UserError(message) from error
    now = datetime.now(UTC)
    if not request.dimensions:
        request.dimensions.extend(PAGE_DIMENSIONS)
    request.include_oversells = not request.location_ids
    if request.step == report_pb.REPORT_STEP_UNSPECIFIED:
        until = request.until_time.ToDatetime(UTC) if request.HasField("until_time") else now
        request.step = report_page.step_for(request.since_time.ToDatetime(UTC), until)
    # Before the report is read, which may take long: a path that cannot be written is known at once.
    with whole_file(path) as file:
        file.write(report_page.page(call(server, lambda client: _asked(client, request)), now))
    say(f"Wrote {path}; open it in a browser.")


async def _asked(client: Client, request: report_pb.GetReportRequest) -> report_pb.GetReportResponse:
    answer: report_pb.GetReportResponse = await client.ask(client.reports.GetReport, request)
    return answer
