"""Commands on the past: unmet demand, the rules that were in force, and changes of the catalog."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from service.cli import options, unknown_names
from service.cli.client import Client, call
from service.cli.console import print_json, stdout_console
from service.cli.listed_entries import matching, say_more
from service.cli.views.history_views import (
    print_catalog_changes,
    print_catalog_record,
    print_demand,
    print_demand_sums,
    print_policy_events,
)
from truestock.v1 import demand_pb2
from truestock.v1.catalog_history_pb2 import CatalogChange, ListCatalogHistoryRequest
from truestock.v1.catalog_service_pb2 import GetCatalogRecordRequest, GetCatalogRecordResponse
from truestock.v1.demand_pb2 import (
    DailyUnmetDemand,
    ListUnmetDemandRequest,
    SumUnmetDemandRequest,
    UnmetDemand,
)
from truestock.v1.policy_history_pb2 import ListPolicyHistoryRequest, PolicyEvent

app = typer.Typer(
    name="history",
    help="""Shows the past as it was recorded: unmet demand, the rules that were in force, changes of the catalog.

    \b
    Examples:
      truestock history demand --by-day --since 4w
      truestock history rules --since 1d
      truestock history catalog store-austin
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
Since = Annotated[str, typer.Option("--since", metavar="TIME|AGE", help="Only at or after then, such as 1d or 12h.")]
Until = Annotated[str, typer.Option("--until", metavar="TIME|AGE", help="Only before then.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Maximum number of entries.")]
_KINDS = options.enum_words(demand_pb2.DemandKind, "DEMAND_KIND_")


@app.command()
def demand(
    skus: Annotated[
        list[str] | None, typer.Argument(metavar="[SKU…]", help="At most 500; all SKUs by default.")
    ] = None,
    channel: Annotated[list[str] | None, typer.Option("--channel", help="Only this channel; repeatable.")] = None,
    location: Annotated[
        list[str] | None, typer.Option("--location", help="Only what was reported of this location; repeatable.")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help=f"Only this kind; repeatable: {', '.join(_KINDS)}.")
    ] = None,
    since: Since = "",
    until: Until = "",
    by_day: Annotated[
        bool, typer.Option("--by-day", help="Sums by day, of the last 30 days by default, at most 366.")
    ] = False,
    limit: Limit = 100,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists what shoppers wanted and did not get, newest first: not what sold orders lack.

    \b
    Examples:
      truestock history demand TRN-1205-MOS --channel tiktok_shop
      truestock history demand --kind hold_refused --since 12h
      truestock history demand --by-day --since 4w --limit 1000
    """
    filters: dict[str, Any] = {
        "skus": skus or [],
        "channel_ids": channel or [],
        "location_ids": location or [],
        "kinds": [options.word("--kind", text, _KINDS) for text in kind or []],
        "since_time": options.past_time(since, "--since"),
        "until_time": options.past_time(until, "--until"),
    }

    names = {"skus": skus, "location_ids": location, "channel_ids": channel}

    async def sums(client: Client) -> tuple[list[DailyUnmetDemand], bool, list[str]]:
        request = SumUnmetDemandRequest(**filters)
        return await matching(
            client, client.availability.SumUnmetDemand, request, lambda page: page.sums, limit, **names
        )

    async def entries(client: Client) -> tuple[list[UnmetDemand], bool, list[str]]:
        request = ListUnmetDemandRequest(**filters)
        return await matching(
            client, client.availability.ListUnmetDemand, request, lambda page: page.demands, limit, **names
        )

    if by_day:
        days, more, missing = call(server, sums)
        if as_json:
            print_json(days)
        else:
            print_demand_sums(stdout_console(), days)
        say_more(len(days), "sum", more=more, end="newest")
    else:
        demands, more, missing = call(server, entries)
        if as_json:
            print_json(demands)
        else:
            print_demand(stdout_console(), demands)
        say_more(len(demands), "entry", "entries", more=more, end="newest")
    unknown_names.refuse_unknown(missing)


@app.command()
def rules(
    instance: Annotated[
        list[str] | None, typer.Option("--instance", help="Only this service, by its name; repeatable.")
    ] = None,
    revision: Annotated[
        list[str] | None, typer.Option("--revision", help="Only when these rules were in force; repeatable.")
    ] = None,
    since: Since = "",
    until: Until = "",
    limit: Limit = 100,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists which rules were in force when, on which service, newest first.

    \b
    Examples:
      truestock history rules
      truestock history rules --since 1d --instance truestock-1
      truestock history rules --revision b0be8db59a03f684
    """
    request = ListPolicyHistoryRequest(
        instances=instance or [],
        policy_revisions=revision or [],
        since_time=options.past_time(since, "--since"),
        until_time=options.past_time(until, "--until"),
    )

    async def ask(client: Client) -> tuple[list[PolicyEvent], bool]:
        return await client.list_entries(client.policies.ListPolicyHistory, request, lambda page: page.events, limit)

    events, more = call(server, ask)
    if as_json:
        print_json(events)
    else:
        print_policy_events(stdout_console(), events)
    say_more(len(events), "event", more=more, end="newest")


@app.command()
def catalog(
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID…]",
            help="Locations, SKUs, channels, or CHANNEL/ID of what is a channel's; all by default.",
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="Only this kind of record, such as location, product or listing; repeatable."),
    ] = None,
    since: Since = "",
    until: Until = "",
    at: Annotated[
        str,
        typer.Option("--at", metavar="TIME|AGE", help="Show what one record was then; with one --kind and one ID."),
    ] = "",
    limit: Limit = 100,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists changes of the catalog, newest first, or shows what a record was at a time.

    \b
    Examples:
      truestock history catalog store-austin
      truestock history catalog --kind channel --since 1d
      truestock history catalog store-austin --kind location \\
        --at 2026-11-27T09:00Z
    """
    if at:
        if len(ids or []) != 1 or len(kind or []) != 1 or since or until:
            raise typer.BadParameter("--at shows one record: name one ID and one --kind, and no --since or --until")
        question = GetCatalogRecordRequest(
            kind=(kind or [""])[0], record_id=(ids or [""])[0], time=options.past_time(at, "--at")
        )
        _show_record(question, server, as_json=as_json)
        return
    request = ListCatalogHistoryRequest(
        kinds=kind or [],
        record_ids=ids or [],
        since_time=options.past_time(since, "--since"),
        until_time=options.past_time(until, "--until"),
    )

    async def ask(client: Client) -> tuple[list[CatalogChange], bool]:
        return await client.list_entries(client.catalog.ListCatalogHistory, request, lambda page: page.changes, limit)

    changes, more = call(server, ask)
    if as_json:
        print_json(changes)
    else:
        print_catalog_changes(stdout_console(), changes)
    say_more(len(changes), "change", more=more, end="newest")


def _show_record(question: GetCatalogRecordRequest, server: str, *, as_json: bool) -> None:
    async def ask(client: Client) -> GetCatalogRecordResponse:
        return await client.ask(client.catalog.GetCatalogRecord, question)

    record = call(server, ask)
    if as_json:
        print_json(record)
    else:
        print_catalog_record(stdout_console(), question, record)
