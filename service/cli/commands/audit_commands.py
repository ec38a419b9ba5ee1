"""`truestock audit`: who changed what, and whether the log of that is whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli import options
from service.cli.client import Client, call
from service.cli.commands.given_settings import settings_of
from service.cli.console import count, print_json, print_line, stdout_console
from service.cli.listed_entries import say_more
from service.cli.views.audit_view import print_audit_events
from truestock.v1.audit_service_pb2 import AuditEvent, ListAuditEventsRequest

if TYPE_CHECKING:
    from service.audit.audit_check import AuditReport

app = typer.Typer(
    name="audit",
    help="Shows who changed what, and checks that nobody has changed the record of it.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("list")
def list_events(
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID…]",
            help="Records of the catalog, SKU/LOCATION of a stock level, transfers, exceptions or principals.",
        ),
    ] = None,
    principal: Annotated[
        list[str] | None, typer.Option("--principal", help="Only changes by this principal; repeatable.")
    ] = None,
    rpc: Annotated[
        list[str] | None, typer.Option("--rpc", help="Only by this method, such as UpsertLocations; repeatable.")
    ] = None,
    area: Annotated[
        list[str] | None,
        typer.Option("--area", help="Only catalog, stock, exceptions, policy or access; repeatable."),
    ] = None,
    entity: Annotated[
        list[str] | None, typer.Option("--entity", help="Only this kind of thing, such as location; repeatable.")
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME|AGE", help="Only at or after then, such as 1d or 12h.")
    ] = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME|AGE", help="Only before then.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Maximum number of events.")] = 100,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists who changed what, newest first, from where and by which call. It needs the role admin.

    \b
    Examples:
      truestock audit list --since 1d
      truestock audit list store-austin --area catalog
      truestock audit list --principal anna --rpc RecordStockChanges --json
    """
    request = ListAuditEventsRequest(
        principals=principal or [],
        entities=entity or [],
        entity_ids=ids or [],
        areas=area or [],
        rpcs=rpc or [],
        since_time=options.past_time(since, "--since"),
        until_time=options.past_time(until, "--until"),
    )

    async def ask(client: Client) -> tuple[list[AuditEvent], bool]:
        return await client.list_entries(client.audit.ListAuditEvents, request, lambda page: page.events, limit)

    events, more = call(server, ask)
    if as_json:
        print_json(events)
    else:
        print_audit_events(stdout_console(), events)
    say_more(len(events), "event", more=more, end="newest")


@app.command()
def verify(
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
    database_url_file: options.DatabaseUrlFile = None,
    public_keys: Annotated[
        list[Path] | None,
        typer.Option("--public-key", help="Checks signatures too, by this key in PEM format; repeatable."),
    ] = None,
    head: Annotated[
        str,
        typer.Option("--head", metavar="SEAL:HASH", help="A head that an earlier run printed; it must still exist."),
    ] = "",
    as_json: options.Json = False,
) -> None:
    """Computes the hash chain of the audit log again, and names the first broken link. Works while the service runs.

    It reads the database itself, because a service could say anything about its own log. Keep the head that it prints
    where nobody who can change the database can change it: given back as --head, it shows whether the end was cut off.
    The exit code is 1 if a link is broken.

    \b
    Examples:
      truestock audit verify
      truestock audit verify --public-key audit.pub
      truestock audit verify --database-url postgresql://auditor@db/truestock
    """
    from service.cli.commands import database_commands

    settings = settings_of(data_dir=data_dir, database_url=database_url, database_url_file=database_url_file)
    report = database_commands.verify_audit(settings, public_keys or (), head)
    printed_head = f"{report.end.position}:{report.end.digest.hex()}"
    if as_json:
        waiting = report.unsealed_since.isoformat() if report.unsealed_since else None
        print_json(
            {
                "whole": not report.problem,
                "problem": report.problem,
                "head": printed_head,
                "event_count": report.event_count,
                "deleted_count": report.deleted_count,
                "unsealed_count": report.unsealed_count,
                "unsealed_since": waiting,
                "signed": report.is_signed,
            }
        )
    else:
        for sentence in _sentences(report, printed_head, has_keys=bool(public_keys)):
            print_line(sentence)
    raise typer.Exit(1 if report.problem else 0)


def _sentences(report: AuditReport, head: str, *, has_keys: bool) -> Iterator[str]:
    if report.problem:
        yield f"The audit log is broken: {report.problem}."
        return
    yield f"The audit log is whole: {count(report.event_count, 'sealed event')}, head {head}."
    if report.deleted_count:
        yield f"{count(report.deleted_count, 'older event')} deleted, as signed, when their retention had ended."
    if report.unsealed_since:
        since = f"{report.unsealed_since:%Y-%m-%d %H:%M:%S} UTC"
        yield f"{count(report.unsealed_count, 'event')} not sealed yet, the oldest since {since}."
    if not has_keys:
        yield "Signatures were not checked; --public-key with the service's public key checks them."
