"""Commands on exceptions: list, show, assign, resolve."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from policies.domain.model import EXCEPTION_KINDS
from policies.domain.resolutions import OTHER, RESOLUTIONS
from service.cli import options
from service.cli.client import Client, call
from service.cli.console import output, print_json, say
from service.cli.views.exception_views import print_exception, print_exceptions
from truestock.v1.exception_pb2 import ExceptionRecord, ExceptionResolution
from truestock.v1.exception_service_pb2 import (
    AssignExceptionRequest,
    GetExceptionRequest,
    GetExceptionResponse,
    ListExceptionsRequest,
    ResolveExceptionRequest,
)

ExceptionId = Annotated[str, typer.Argument(metavar="EXCEPTION", help="The exception's id, a UUID.")]
Actor = Annotated[str, typer.Option("--by", metavar="NAME", help="Who says so; your login name if left out.")]
DEFAULT_LIMIT = 200

app = typer.Typer(
    name="exceptions",
    invoke_without_command=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def exceptions(
    context: typer.Context,
    owner: Annotated[list[str] | None, typer.Option("--owner", help="Only this desk's; repeat for more.")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only of this kind; repeat for more.")] = None,
    channel: Annotated[
        list[str] | None, typer.Option("--channel", help="Only this channel's; repeat for more.")
    ] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those whose time is over.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are settled.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Most exceptions to list.")] = DEFAULT_LIMIT,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists what somebody has to settle, what is due first, first. Or shows, assigns and settles one.

    \b
    Examples:
      truestock exceptions
      truestock exceptions --owner marketplace-desk --overdue
      truestock exceptions --kind oversell --channel tiktok_shop --json
      truestock exceptions show 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
      truestock exceptions assign 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --to anna
      truestock exceptions resolve 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --as cancelled
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    request = ListExceptionsRequest(
        states=[] if everything else [ExceptionRecord.STATE_OPEN],
        kinds=[_word(text, EXCEPTION_KINDS, "--kind") for text in kind or []],
        owners=owner or [],
        channel_ids=channel or [],
        overdue_only=overdue,
    )

    async def ask(client: Client) -> tuple[list[ExceptionRecord], bool]:
        return await client.listed(client.exceptions.ListExceptions, request, lambda page: page.exceptions, limit)

    found, more = call(server, ask)
    if as_json:
        print_json(found)
        return
    print_exceptions(output(), found)
    if more:
        say(f"There are more than {limit:,}; name --owner or --kind, or a higher --limit.")


@app.command()
def show(exception: ExceptionId, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Shows one exception with its history.

    \b
    Example:
      truestock exceptions show 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    request = GetExceptionRequest(exception_id=options.exception_id(exception))

    async def ask(client: Client) -> GetExceptionResponse:
        return await client.ask(client.exceptions.GetException, request)

    answer = call(server, ask)
    if as_json:
        print_json(answer)
    else:
        print_exception(output(), answer.exception, answer.history)


@app.command()
def assign(
    exception: ExceptionId,
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="Who works on it; nobody if left out.")] = "",
    owner: Annotated[str, typer.Option("--owner", metavar="DESK", help="The desk that it goes to.")] = "",
    by: Actor = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Gives an open exception to a person, or to another desk. Without --to it is taken from whoever has it.

    \b
    Examples:
      truestock exceptions assign 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --to anna
      truestock exceptions assign 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --owner stores
    """
    request = AssignExceptionRequest(
        exception_id=options.exception_id(exception),
        assignee=to,
        owner=owner,
        actor=by or _login_name(),
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> ExceptionRecord:
        return (await client.ask(client.exceptions.AssignException, request)).exception

    _show(call(server, ask), as_json)


@app.command()
def resolve(
    exception: ExceptionId,
    how: Annotated[str, typer.Option("--as", metavar="RESOLUTION", help=f"One of {', '.join(RESOLUTIONS)}.")],
    note: Annotated[str, typer.Option("--note", help="What there is to say; no names of shoppers.")] = "",
    by: Actor = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Settles an open exception, and does what that says to its order.

    rerouted plans its short units anew, backordered lets them wait for stock,
    cancelled takes them off, approved lets a plan go out. The others say what
    was done elsewhere; other needs a --note.

    \b
    Examples:
      truestock exceptions resolve 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --as approved
      truestock exceptions resolve 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 \\
        --as cancelled --note "the shopper was told"
    """
    resolution = _word(how, RESOLUTIONS, "--as")
    if resolution == OTHER and not note:
        raise typer.BadParameter("--as other needs a --note that says how it was settled")
    request = ResolveExceptionRequest(
        exception_id=options.exception_id(exception),
        resolution=ExceptionResolution.Value(f"EXCEPTION_RESOLUTION_{resolution.upper()}"),
        actor=by or _login_name(),
        note=note,
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> ExceptionRecord:
        return (await client.ask(client.exceptions.ResolveException, request)).exception

    _show(call(server, ask), as_json)


def _refuse_options(context: typer.Context) -> None:
    """Options of the list before another command would have no effect, which nobody would notice."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            command = context.invoked_subcommand
            raise typer.BadParameter(f"write options behind the command: `truestock exceptions {command} … --server …`")


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError) as error:
        raise typer.BadParameter("--by must say who you are, because this system does not know") from error


def _show(one: ExceptionRecord, as_json: bool) -> None:
    if as_json:
        print_json(one)
    else:
        print_exception(output(), one, ())


def _word(text: str, known: tuple[str, ...], option: str) -> str:
    """One of the known words, written with `-` or `_`."""
    word = text.strip().lower().replace("-", "_")
    if word not in known:
        raise typer.BadParameter(f"{option} {text!r} is not one of {', '.join(known)}")
    return word
