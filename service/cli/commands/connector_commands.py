"""`truestock channels`: the channels of the catalog, and the connectors that feed their orders in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from service.cli import options
from service.cli.commands.catalog import catalog_commands
from service.cli.console import UserError, count, print_json, print_line, say
from service.cli.listed_entries import say_more

if TYPE_CHECKING:
    from service.cli.connectors.connector_site import ConnectorSite
    from service.settings import Settings


class _ChannelsGroup(TyperGroup):
    """`truestock channels tiktok_shop` means `truestock channels list tiktok_shop`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts `list` before what is no subcommand."""
        if not args or args[0] not in {"-h", "--help", *self.commands}:
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="channels",
    cls=_ChannelsGroup,
    invoke_without_command=True,
    help="""Lists channels, and connects shops that feed their orders in.

    Without a command, it lists the channels of the catalog.

    \b
    Examples:
      truestock channels
      truestock channels connect tiktok-us --code TTP_FzZ...
      truestock channels serve""",
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
inbox_app = typer.Typer(
    name="inbox",
    invoke_without_command=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

AccountsFile = Annotated[
    Path, typer.Option("--accounts", envvar="TRUESTOCK_CHANNELS", metavar="FILE", help="The accounts file.")
]
ACCOUNTS = Path("channels.yaml")
AccountName = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its name in the accounts file.")]
OnlyAccount = Annotated[str, typer.Option("--account", metavar="ACCOUNT", help="Only of this account.")]
WEBHOOK_ADDRESS = "127.0.0.1:8090"
METRICS_ADDRESS = "127.0.0.1:9465"

app.command("list")(catalog_commands.channels)


@app.command("new-key")
def new_key() -> None:
    """Prints a new key, which encrypts the tokens of accounts.

    Keep it where `token_keys` of the accounts file says. To replace a key, write
    the new one before it, separated by a comma.

    \b
    Examples:
      export TRUESTOCK_TOKEN_KEYS=$(truestock channels new-key)
    """
    from cryptography.fernet import Fernet

    print_line(Fernet.generate_key().decode())


@app.command()
def connect(
    account: AccountName,
    code: Annotated[
        str,
        typer.Option("--code", help="What the platform gave the shop's owner; once, and after an authorization ended."),
    ] = "",
    accounts: AccountsFile = ACCOUNTS,
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Gets an account's tokens and webhooks, and says what a person has to do.

    The exit code is 1 if anything does not work. A paused account goes on.

    \b
    Examples:
      truestock channels connect tiktok-us --code TTP_FzZ...
      truestock channels connect tiktok-us
    """
    with _extra():
        from service.cli.connectors import account_calls
        from service.cli.views import connector_views

    checks = account_calls.connect(_site(accounts, data_dir, database_url, server), account, code)
    if as_json:
        print_json([{"what": check.what, "works": check.works, "todo": check.todo} for check in checks])
    else:
        connector_views.print_checks(checks)
    raise typer.Exit(0 if all(check.works for check in checks) else 1)


@app.command("map")
def map_account(
    account: AccountName,
    accept: Annotated[str, typer.Option("--accept", metavar="exact", help="Store the exact matches.")] = "",
    file: Annotated[Path | None, typer.Option("--from", metavar="FILE.csv", help="Store what this file says.")] = None,
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE.csv", help="Where to write the proposals; - is stdout.")
    ] = Path("-"),
    accounts: AccountsFile = ACCOUNTS,
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Proposes what a shop's outlets and items are in Truestock, or stores that.

    The proposals are a CSV file with a reason for each. Only exact matches are
    proposed; fill in the others, and store the file with --from. What waited for
    a mapping is read again at once.

    \b
    Examples:
      truestock channels map tiktok-us --output tiktok-us.csv
      truestock channels map tiktok-us --accept exact
      truestock channels map tiktok-us --from tiktok-us.csv
    """
    with _extra():
        from service.cli.connectors import mapping_calls
        from service.cli.views import connector_views

    if accept not in ("", "exact"):
        raise typer.BadParameter("--accept takes only 'exact'")
    if accept and file:
        raise typer.BadParameter("give --accept or --from, not both")
    site = _site(accounts, data_dir, database_url, server)
    if accept or file:
        stored = mapping_calls.store(site, account, file)
        if as_json:
            print_json(stored.as_dict())
        else:
            say(f"Stored {count(stored.outlet_count, 'outlet')} and {count(stored.listing_count, 'listing')}.")
        return
    proposals = mapping_calls.propose(site, account)
    if as_json:
        print_json([connector_views.proposal_dict(proposal) for proposal in proposals])
    else:
        connector_views.write_mapping(proposals, output)


@app.command()
def forget(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="A channel that no connector feeds any more.")],
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Forgets the connector of a channel, so that readiness asks nothing of it.

    Stop the connector, or take the account out of its file, before. Orders, the
    mapping and the account's tokens stay.

    \b
    Examples:
      truestock channels forget tiktok_shop
    """
    from service.cli.client import call
    from truestock.v1.connection_pb2 import DeleteConnectionRequest

    call(
        server,
        lambda client: client.ask(client.readiness.DeleteConnection, DeleteConnectionRequest(channel_id=channel)),
    )
    if as_json:
        print_json({"channel_id": channel})
    else:
        say(f"The connector of {channel} is forgotten.")


@app.command()
def serve(
    address: Annotated[
        str,
        typer.Option(
            help="HOST:PORT of webhooks; a proxy with TLS comes before it. Or TRUESTOCK_CHANNELS_ADDRESS.",
            envvar="TRUESTOCK_CHANNELS_ADDRESS",
            show_envvar=False,
        ),
    ] = WEBHOOK_ADDRESS,
    metrics_address: Annotated[
        str,
        typer.Option(
            help="HOST:PORT of metrics and health. Or TRUESTOCK_CHANNELS_METRICS_ADDRESS.",
            envvar="TRUESTOCK_CHANNELS_METRICS_ADDRESS",
            show_envvar=False,
        ),
    ] = METRICS_ADDRESS,
    metrics_token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the token that /metrics asks for. Or TRUESTOCK_CHANNELS_METRICS_TOKEN_FILE.",
            envvar="TRUESTOCK_CHANNELS_METRICS_TOKEN_FILE",
            show_envvar=False,
        ),
    ] = None,
    poll_seconds: Annotated[
        float, typer.Option("--poll-seconds", min=1, max=3_600, help="Seconds between polls of each account.")
    ] = 120,
    stop_with_input: Annotated[
        bool, typer.Option("--stop-with-input", help="Also stop when standard input ends.", hidden=True)
    ] = False,
    accounts: AccountsFile = ACCOUNTS,
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
    server: options.Server = options.SERVER,
) -> None:
    """Runs the connectors of all accounts until Ctrl-C.

    They take webhooks, poll, and send orders to Truestock. Any number of these
    processes may run on one database. They write nothing to the channels.

    \b
    Examples:
      truestock channels serve
      truestock channels serve --accounts /etc/truestock/channels.yaml
      truestock channels serve --server truestock:50051 --tls \\
        --token-file connector.token
    """
    with _extra():
        from service.cli.connectors import serving

    site = _site(accounts, data_dir, database_url, server)
    serving.serve(
        site,
        address,
        metrics_address,
        poll_seconds,
        metrics_token_file=metrics_token_file,
        stop_with_input=stop_with_input,
    )


def check_accounts(accounts: Path, settings: Settings) -> None:
    """Raises UserError if a service with these settings cannot run the connectors of an accounts file."""
    with _extra():
        from service.cli.connectors.connector_site import ConnectorSite

    if settings.tls_cert is not None:
        raise UserError("--channels is for a service without TLS; run `truestock channels serve` beside this one")
    ConnectorSite.read(accounts, settings, settings.address)


@app.command()
def status(
    accounts: AccountsFile = ACCOUNTS,
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
    as_json: options.Json = False,
) -> None:
    """Shows whether each account works, when it was heard and polled, what waits.

    \b
    Examples:
      truestock channels status
      truestock channels status --json
    """
    with _extra():
        from service.cli.connectors import inbox_calls
        from service.cli.views import connector_views

    lines = inbox_calls.status(_site(accounts, data_dir, database_url))
    if as_json:
        print_json([line.as_dict() for line in lines])
    else:
        connector_views.print_status(lines)


@inbox_app.callback(invoke_without_command=True)
def inbox(
    context: typer.Context,
    account: OnlyAccount = "",
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="waiting, unmapped, parked or done; repeatable. All but done by default."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many, the newest first.")] = 100,
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
    as_json: options.Json = False,
) -> None:
    """Lists what is to be read of channels, and what could not be.

    \b
    Examples:
      truestock channels inbox
      truestock channels inbox --account tiktok-us --state parked
      truestock channels inbox replay 576461413038785752
    """
    if context.invoked_subcommand is not None:
        return
    with _extra():
        from service.cli.connectors import inbox_calls
        from service.cli.views import connector_views

    # One more than is shown tells whether there are others.
    found = inbox_calls.listed(_database(data_dir, database_url), account, "", state or [], limit + 1)
    entries = found[:limit]
    if as_json:
        print_json([entry.as_dict() for entry in entries])
    else:
        connector_views.print_inbox(entries)
    say_more(len(entries), "entry", "entries", more=len(found) > limit, end="newest")


@inbox_app.command("show")
def show_entry(
    entity_id: Annotated[
        str, typer.Argument(metavar="ID", help="The channel's id of an order, cancellation or return.")
    ],
    account: OnlyAccount = "",
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
    as_json: options.Json = False,
) -> None:
    """Shows one order, cancellation or return of a channel: when it was read, and why it failed.

    \b
    Examples:
      truestock channels inbox show 576461413038785752
    """
    with _extra():
        from service.cli.connectors import inbox_calls
        from service.cli.views import connector_views

    entries = inbox_calls.listed(_database(data_dir, database_url), account, entity_id, [], 10)
    if not entries:
        raise UserError(f"no account's channel has hinted at {entity_id}", code="NOT_FOUND")
    if as_json:
        print_json([entry.as_dict() for entry in entries])
    else:
        connector_views.print_entries(entries)


@inbox_app.command()
def replay(
    entity_id: Annotated[
        str, typer.Argument(metavar="[ID]", help="All that is parked or waits for a mapping by default.")
    ] = "",
    account: OnlyAccount = "",
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
    as_json: options.Json = False,
) -> None:
    """Has what failed read again, as if the channel had hinted at it anew.

    \b
    Examples:
      truestock channels inbox replay
      truestock channels inbox replay 576461413038785752
    """
    with _extra():
        from service.cli.connectors import inbox_calls

    replayed = inbox_calls.replay(_database(data_dir, database_url), account, entity_id)
    if entity_id and not replayed:
        raise UserError(f"nothing in the inbox has the id {entity_id}", code="NOT_FOUND")
    if as_json:
        print_json({"replayed_count": replayed})
    else:
        say(f"{count(replayed, 'entry is', 'entries are')} read again.")


@inbox_app.command()
def done(
    entity_id: Annotated[str, typer.Argument(metavar="ID", help="The channel's id of what you have seen to.")],
    account: OnlyAccount = "",
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
    as_json: options.Json = False,
) -> None:
    """Ends what is parked or waits for a mapping, and its exception: somebody has seen to it by hand.

    Nothing is sent to Truestock. If the channel changes it, it is read again.

    \b
    Examples:
      truestock channels inbox done 576461413038785752
    """
    with _extra():
        from service.cli.connectors import inbox_calls

    ended = inbox_calls.end(_database(data_dir, database_url), account, entity_id)
    if not ended:
        raise UserError(f"nothing that failed in the inbox has the id {entity_id}", code="NOT_FOUND")
    if as_json:
        print_json({"ended_count": ended})
    else:
        say(f"{count(ended, 'entry is', 'entries are')} done.")


app.add_typer(inbox_app)


@contextmanager
def _extra() -> Iterator[None]:
    """Says what to install where the packages of connectors are missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("httpx2", "stamina", "starlette", "uvicorn"):
            raise
        raise UserError("Connectors need more packages: pip install 'truestock[channels]'") from error


def _database(data_dir: Path | None, database_url: str | None) -> Settings:
    with _extra():
        from service.cli.connectors.connector_site import database_settings

    return database_settings(data_dir, database_url)


def _site(
    accounts: Path, data_dir: Path | None, database_url: str | None, server: str = options.SERVER
) -> ConnectorSite:
    with _extra():
        from service.cli.connectors.connector_site import ConnectorSite

    return ConnectorSite.read(accounts, _database(data_dir, database_url), server)
