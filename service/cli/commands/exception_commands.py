"""Commands on exceptions: list, show, assign, resolve."""

from __future__ import annotations

from typing import Annotated

import typer

from policies.domain.model import EXCEPTION_KINDS
from policies.domain.resolutions import OTHER, RESOLUTIONS
from service.cli import list_options, options, unknown_names
from service.cli.client import Client, call
from service.cli.console import print_json, say, stdout_console
from service.cli.listed_entries import matching, say_more
from service.cli.views.exception_views import (
    print_counts,
    print_effects,
    print_exception,
    print_exceptions,
)
from truestock.v1.exception_pb2 import ExceptionRecord, ExceptionResolution
from truestock.v1.exception_service_pb2 import (
    AssignExceptionRequest,
    GetExceptionRequest,
    GetExceptionResponse,
    ListExceptionsRequest,
    ListExceptionsResponse,
    ResolveExceptionRequest,
    ResolveExceptionResponse,
)

ExceptionId = Annotated[str, typer.Argument(metavar="EXCEPTION", help="The exception's id, a UUID.")]
Actor = Annotated[
    str, typer.Option("--by", metavar="NAME", help="Your name for the history; your login name by default.")
]
DEFAULT_LIMIT = 200
_KINDS = {kind: kind for kind in EXCEPTION_KINDS}
_RESOLUTIONS = {resolution: resolution for resolution in RESOLUTIONS}
_RESOLUTION_HELP = f"One of {', '.join(RESOLUTIONS)}."

app = typer.Typer(
    name="exceptions",
    invoke_without_command=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def exceptions(
    context: typer.Context,
    owner: Annotated[list[str] | None, typer.Option("--owner", help="Only this owner; repeatable.")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only this kind; repeatable.")] = None,
    channel: list_options.Channels = None,
    sku: list_options.Skus = None,
    location: list_options.Locations = None,
    assignee: Annotated[
        list[str] | None, typer.Option("--assignee", help="Only those of this person; repeatable.")
    ] = None,
    unassigned: Annotated[bool, typer.Option("--unassigned", help="Only those assigned to nobody.")] = False,
    resolution: Annotated[
        list[str] | None, typer.Option("--resolution", help="Only those resolved so, with --all; repeatable.")
    ] = None,
    number: list_options.NumberPart = "",
    since: Annotated[str, typer.Option("--since", metavar="TIME|AGE", help="Only those raised since then.")] = "",
    before: Annotated[str, typer.Option("--before", metavar="TIME|AGE", help="Only those raised before then.")] = "",
    updated_since: list_options.UpdatedSince = "",
    updated_before: list_options.UpdatedBefore = "",
    sort: Annotated[str, typer.Option("--sort", help="due (default), newest or oldest.")] = "",
    counts: Annotated[
        bool, typer.Option("--counts", help="Only count the open ones, by owner and kind; with all filters.")
    ] = False,
    order: Annotated[str, typer.Option("--order", metavar="CHANNEL/ORDER", help="Only those of this order.")] = "",
    overdue: Annotated[bool, typer.Option("--overdue", help="Only overdue exceptions.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also resolved exceptions.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=100_000, help="Maximum number of exceptions.")
    ] = DEFAULT_LIMIT,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists open exceptions by due date. The subcommands show, assign and resolve one exception.

    \b
    Examples:
      truestock exceptions
      truestock exceptions --owner marketplace-desk --overdue
      truestock exceptions --kind oversell --channel tiktok_shop --json
      truestock exceptions --assignee anna --sort newest
      truestock exceptions --sku TRN-1205-MOS --location store-austin --all
      truestock exceptions --counts --channel tiktok_shop
      truestock exceptions --order shopify/1001 --all
      truestock exceptions show 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
      truestock exceptions assign 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --to anna
      truestock exceptions resolve 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 \\
        --resolution cancelled
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    request = ListExceptionsRequest(
        states=[] if everything else [ExceptionRecord.STATE_OPEN],
        kinds=[options.word("--kind", text, _KINDS) for text in kind or []],
        owners=owner or [],
        channel_ids=channel or [],
        overdue_only=overdue,
        order=options.order_reference(order) if order else None,
        skus=sku or [],
        location_ids=location or [],
        assignees=assignee or [],
        unassigned_only=unassigned,
        resolutions=[_resolution_number(options.word("--resolution", text, _RESOLUTIONS)) for text in resolution or []],
        order_id_part=list_options.number_part(number),
        created_from=options.past_time(since, "--since"),
        created_before=options.past_time(before, "--before"),
        updated_from=options.past_time(updated_since, "--updated-since"),
        updated_before=options.past_time(updated_before, "--updated-before"),
        order_by=list_options.sort(sort),
    )
    if counts:
        _show_counts(request, server, as_json)
        return

    async def ask(client: Client) -> tuple[list[ExceptionRecord], bool, list[str]]:
        names = {"skus": sku, "location_ids": location, "channel_ids": channel}
        return await matching(
            client, client.exceptions.ListExceptions, request, lambda page: page.exceptions, limit, **names
        )

    listed, more, unknown = call(server, ask)
    if as_json:
        print_json(listed)
    else:
        print_exceptions(stdout_console(), listed)
    say_more(len(listed), "exception", more=more)
    unknown_names.refuse_unknown(unknown)


@app.command()
def show(exception: ExceptionId, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Shows one exception with its history, and what each resolution that it allows would do now.

    \b
    Examples:
      truestock exceptions show 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
      truestock exceptions show 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --json
    """
    request = GetExceptionRequest(exception_id=options.exception_id(exception))

    async def ask(client: Client) -> GetExceptionResponse:
        return await client.ask(client.exceptions.GetException, request)

    response = call(server, ask)
    if as_json:
        print_json(response)
    else:
        print_exception(stdout_console(), response.exception, response.history)
        print_effects(stdout_console(), response.resolutions)


@app.command()
def assign(
    exception: ExceptionId,
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="Who works on it; nobody by default.")] = "",
    owner: Annotated[
        str, typer.Option("--owner", metavar="OWNER", help="The owner, such as a team, that takes it over.")
    ] = "",
    by: Actor = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Assigns an open exception to a person or to another owner. Without --to, it is assigned to nobody.

    \b
    Examples:
      truestock exceptions assign 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --to anna
      truestock exceptions assign 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 \\
        --owner stores
    """
    request = AssignExceptionRequest(
        exception_id=options.exception_id(exception),
        assignee=to,
        owner=owner,
        actor=by or options.login_name(),
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> ExceptionRecord:
        return (await client.ask(client.exceptions.AssignException, request)).exception

    _show(call(server, ask), as_json)


@app.command()
def resolve(
    exception: ExceptionId,
    resolution: Annotated[str, typer.Option("--resolution", metavar="RESOLUTION", help=_RESOLUTION_HELP)],
    note: Annotated[str, typer.Option("--note", help="Explanation for the history, without names of shoppers.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and do nothing.")] = False,
    by: Actor = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Resolves an open exception and applies the resolution to its order.

    rerouted replans the short units, backordered lets them wait for stock,
    cancelled cancels them, approved releases a plan for fulfillment. The other
    resolutions record what was done elsewhere; other needs a --note.

    \b
    Examples:
      truestock exceptions resolve 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 \\
        --resolution approved
      truestock exceptions resolve 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 \\
        --resolution cancelled --note "the shopper agreed"
      truestock exceptions resolve 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 \\
        --resolution rerouted --dry-run
    """
    name = options.word("--resolution", resolution, _RESOLUTIONS)
    if name == OTHER and not note:
        raise typer.BadParameter("--resolution other needs a --note that says how it was resolved")
    request = ResolveExceptionRequest(
        exception_id=options.exception_id(exception),
        resolution=_resolution_number(name),
        actor=by or options.login_name(),
        note=note,
        request_id="" if dry_run else options.request_id(request_id),
        validate_only=dry_run,
    )

    async def ask(client: Client) -> ResolveExceptionResponse:
        return await client.ask(client.exceptions.ResolveException, request)

    response = call(server, ask)
    if as_json:
        print_json(response if dry_run else response.exception)
        return
    if not dry_run:
        print_exception(stdout_console(), response.exception, ())
    print_effects(stdout_console(), [response.effect], done=not dry_run)


def _resolution_number(word: str) -> ExceptionResolution.ValueType:
    return ExceptionResolution.Value(f"EXCEPTION_RESOLUTION_{word.upper()}")


def _show_counts(request: ListExceptionsRequest, server: str, as_json: bool) -> None:
    request.include_counts, request.page_size = True, 1

    async def ask(client: Client) -> ListExceptionsResponse:
        return await client.ask(client.exceptions.ListExceptions, request)

    response = call(server, ask)
    if as_json:
        print_json(list(response.counts))
    else:
        print_counts(stdout_console(), response.counts)
    if response.counts_are_partial and not as_json:
        say("More are open than are counted: these are the ones that are due first.")


def _refuse_options(context: typer.Context) -> None:
    """Refuses list options before a subcommand: they would silently have no effect."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            command = context.invoked_subcommand
            raise typer.BadParameter(
                f"write options after the subcommand: `truestock exceptions {command} … --server …`"
            )


def _show(exception: ExceptionRecord, as_json: bool) -> None:
    if as_json:
        print_json(exception)
    else:
        print_exception(stdout_console(), exception, ())
