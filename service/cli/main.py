"""The `truestock` command: all its subcommands, and how errors end it: a sentence on stderr, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import typer
import typer.core
import typer.main
from typer.exceptions import TyperException

from service.cli import connection, options
from service.cli.commands import (
    access_commands,
    audit_commands,
    channel_figure_commands,
    connector_commands,
    decision_commands,
    exception_commands,
    explain_command,
    history_commands,
    movement_commands,
    order_commands,
    pickup_commands,
    readiness_command,
    replay_command,
    report_command,
    shipment_commands,
    stock_commands,
    sync_commands,
    watch_commands,
)
from service.cli.commands.catalog import (
    catalog_commands,
    export_command,
    feed_commands,
    import_commands,
    kit_commands,
    listing_commands,
    outlet_commands,
    product_commands,
)
from service.cli.commands.given_settings import settings_of
from service.cli.commands.rules import facts_command, rules_commands
from service.cli.console import (
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    UserError,
    add_row,
    new_table,
    print_json,
    say,
    stdout_console,
)
from service.cli.error_output import print_error, usage_error, wants_json

app = typer.Typer(
    name="truestock",
    help="Shows what each channel can safely sell now, and routes each order to the location that fulfills it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

# `truestock --help` lists the commands in these groups, in the order in which this module adds them.
_SERVICE = "The service"
_RULES = "Rules"
_CATALOG = "Catalog and files"
_STOCK = "Stock"
_ORDERS = "Orders"
_FULFILLMENT = "Fulfillment and exceptions"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command, then exits: 0 success, 1 failure, 2 wrong usage, 3 unknown names, 130 stopped with Ctrl-C."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    as_json = wants_json(words)
    try:
        _run(words, as_json=as_json)
    except UserError as error:
        print_error(error, as_json=as_json)
        sys.exit(error.exit_code)


@cache
def _command() -> typer.core.TyperGroup:
    """All commands. Typer itself makes them anew for each call, which takes 150 ms of CPU."""
    return typer.main.get_group(app)


def _run(words: list[str], *, as_json: bool) -> None:
    """Runs one command. Raises UserError for everything that its caller has to know, and SystemExit otherwise."""
    try:
        # Typer prints wrong usage itself, in a box, unless a program asks.
        code = _command()(args=connection.moved_to_front(words), prog_name="truestock", standalone_mode=not as_json)
        sys.exit(code if isinstance(code, int) else 0)
    except TyperException as error:
        raise usage_error(error) from error
    except UnicodeEncodeError as error:
        # The shell passes bytes that are not UTF-8 as lone surrogates, which no message of the API can carry.
        if error.reason != "surrogates not allowed":
            raise
        message = f"{error.object!r} is not UTF-8 text; write the argument in UTF-8."
        raise UserError(message, code="USAGE", exit_code=EXIT_USAGE) from error
    except OSError as error:
        # Whether there is a file cannot be asked either where its folder is not the caller's, or its name is too long.
        if error.filename is None:
            raise
        raise UserError(f"{error.filename}: cannot be used: {error.strerror}") from error
    except KeyboardInterrupt as error:
        raise UserError("Stopped.", code="INTERRUPTED", exit_code=EXIT_INTERRUPTED) from error


def _print_version(requested: bool) -> None:
    if requested:
        from service.version import VERSION

        typer.echo(f"truestock {VERSION}")
        raise typer.Exit


@app.callback()
def options_before_commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    profile: connection.Profile = None,
    tls: connection.Tls = None,
    tls_ca: connection.TlsCa = None,
    client_cert: connection.ClientCert = None,
    client_key: connection.ClientKey = None,
    token_file: connection.TokenFile = None,
) -> None:
    """Reads the options that come before the command."""
    connection.choose(
        profile, tls=tls, tls_ca=tls_ca, client_cert=client_cert, client_key=client_key, token_file=token_file
    )


@app.command(rich_help_panel=_SERVICE)
def serve(
    address: Annotated[str | None, typer.Option(help="HOST:PORT of the gRPC API. Or TRUESTOCK_ADDRESS.")] = None,
    metrics_address: Annotated[
        str | None, typer.Option(help="HOST:PORT of metrics and health. Or TRUESTOCK_METRICS_ADDRESS.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that answer calls, 1 by default. Or TRUESTOCK_WORKERS.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate and chain in PEM format, for TLS. Or TRUESTOCK_TLS_CERT.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key. Or TRUESTOCK_TLS_KEY.")] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(help="Refuse callers without a certificate of these authorities. Or TRUESTOCK_CLIENT_CA."),
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option(
            "--insecure",
            help="Listen where other machines may connect without TLS or an access file. Or TRUESTOCK_INSECURE.",
            show_default=False,
        ),
    ] = None,
    access: Annotated[
        Path | None, typer.Option(help="Who may call; access.yaml by default, if it exists. Or TRUESTOCK_ACCESS.")
    ] = None,
    audit_key: Annotated[
        Path | None, typer.Option(help="Ed25519 private key that signs the audit log. Or TRUESTOCK_AUDIT_KEY.")
    ] = None,
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
    database_url_file: options.DatabaseUrlFile = None,
    read_database_url: Annotated[
        str | None,
        typer.Option(help="A streaming replica of it that answers lists and reports. Or TRUESTOCK_READ_DATABASE_URL."),
    ] = None,
    read_database_url_file: Annotated[
        Path | None,
        typer.Option(help="A file with that URL, which may hold a password. Or TRUESTOCK_READ_DATABASE_URL_FILE."),
    ] = None,
    read_max_lag_seconds: Annotated[
        float | None,
        typer.Option(help="How far the replica may be behind, 5 by default. Or TRUESTOCK_READ_MAX_LAG_SECONDS."),
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="The rules folder. Or TRUESTOCK_RULES.")] = None,
    require_tests: Annotated[
        bool | None,
        typer.Option(
            "--require-tests",
            help="Refuse a rules folder with failing tests or untested rules. Or TRUESTOCK_REQUIRE_TESTS.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        bool | None, typer.Option("--sample/--no-sample", help="Load the sample retailer into an empty database.")
    ] = None,
    channels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also run the connectors of this accounts file; without TLS only."),
    ] = None,
) -> None:
    """Runs the service until Ctrl-C, with an embedded PostgreSQL unless --database-url names another.

    \b
    Examples:
      truestock serve
      truestock serve --address 127.0.0.1:50051 --rules rules --require-tests
      truestock serve --workers 4
      truestock serve --database-url postgresql://me@localhost/truestock
      truestock serve --database-url postgresql://me@one/truestock \\
        --read-database-url postgresql://me@two/truestock
      truestock serve --channels channels.yaml
      truestock serve --address 10.0.0.5:50051 --tls-cert me.pem --tls-key me.key
    """
    if sys.stderr.isatty():
        # The imports and the first start of a database take 10 seconds or more.
        say("Starting Truestock …")

    from service.app.listening import StartError
    from service.app.process import serve as run
    from service.policy.active_policies import RulesFolderError

    settings = settings_of(
        address=address,
        metrics_address=metrics_address,
        workers=workers,
        tls_cert=tls_cert,
        tls_key=tls_key,
        client_ca=client_ca,
        insecure=insecure,
        access=access,
        audit_key=audit_key,
        data_dir=data_dir,
        database_url=database_url,
        database_url_file=database_url_file,
        read_database_url=read_database_url,
        read_database_url_file=read_database_url_file,
        read_max_lag_seconds=read_max_lag_seconds,
        rules=rules,
        require_tests=require_tests,
        sample=sample,
    )
    if channels is not None:
        connector_commands.check_accounts(channels, settings)
    try:
        run(settings, channels)
    except (RulesFolderError, StartError) as error:
        raise UserError(str(error)) from error


@app.command(rich_help_panel=_RULES)
def check(
    rules: Annotated[Path, typer.Argument(help="The rules folder.")] = Path("rules"),
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    output_format: Annotated[
        Literal["text", "json", "github"],
        typer.Option("--format", help="Output for people, programs or pull requests."),
    ] = "text",
    allow_untested: Annotated[bool, typer.Option("--allow-untested", help="Accept rules that no test covers.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Check again after every save, until Ctrl-C.")] = False,
    draft_tests: Annotated[
        bool,
        typer.Option("--draft-tests", help="Write a test of each untested rule into new files, to be looked over."),
    ] = False,
    server: Annotated[
        str | None,
        typer.Option(
            "--server", metavar="HOST:PORT", help="Also warn of ids, tags and other values that its catalog lacks."
        ),
    ] = None,
) -> None:
    """Checks a rules folder: reports every problem with its file and line, and runs the rule tests.

    The exit code is 1 if there is any problem. Warnings do not change it.

    \b
    Examples:
      truestock check
      truestock check rules --server 127.0.0.1:50051
      truestock check rules --draft-tests
      truestock check rules --watch
      truestock check rules --format github
    """
    from service.cli.commands.rules.check_command import Format, run, run_on_every_save

    if draft_tests and watch:
        raise typer.BadParameter("--draft-tests writes files once; leave --watch out")
    selected_format = Format.JSON if as_json else Format(output_format)
    if watch:
        code = run_on_every_save(rules, output_format=selected_format, allow_untested=allow_untested, server=server)
    else:
        code = run(
            rules,
            output_format=selected_format,
            allow_untested=allow_untested,
            server=server,
            draft_tests=draft_tests,
        )
    raise typer.Exit(code)


@app.command(rich_help_panel=_SERVICE)
def migrate(
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
    database_url_file: options.DatabaseUrlFile = None,
    roles: Annotated[
        bool, typer.Option("--roles", help="Also make a role that owns the tables and one for services.")
    ] = False,
    owner_role: Annotated[str, typer.Option(help="Name of the role that owns the tables.")] = "truestock_owner",
    service_role: Annotated[str, typer.Option(help="Name of the role of services.")] = "truestock_service",
    owner_password_file: Annotated[
        Path | None, typer.Option(help="A file with its password; without one it cannot log in.")
    ] = None,
    service_password_file: Annotated[
        Path | None, typer.Option(help="A file with its password; without one the password stays as it is.")
    ] = None,
) -> None:
    """Migrates the database to the schema of this Truestock version.

    With --roles, services can connect as a role that cannot drop, alter or truncate anything, and that can only add to
    the audit log and other tables that only grow. Repeat it to change a password.

    \b
    Examples:
      truestock migrate
      truestock migrate --database-url postgresql://me@localhost/truestock
      truestock migrate --roles --service-password-file service-password
    """
    from service.cli.commands import database_commands

    settings = settings_of(data_dir=data_dir, database_url=database_url, database_url_file=database_url_file)
    if not roles:
        database_commands.migrate_database(settings)
        say("The database is up to date.")
        return
    if settings.database_url is None:
        raise typer.BadParameter("--roles is for a database of your own: name it with --database-url-file")
    wanted = database_commands.roles_of(owner_role, service_role, owner_password_file, service_password_file)
    database_commands.migrate_database(settings, wanted)
    say(f"The database is up to date. {owner_role} owns its tables; let services connect as {service_role}.")


@app.command("verify-ledger", rich_help_panel=_SERVICE)
def verify_ledger(
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
    database_url_file: options.DatabaseUrlFile = None,
    as_json: options.Json = False,
) -> None:
    """Verifies that every stock level equals the sum of its movements. Works while the service runs.

    The exit code is 1 if any stock level differs.

    \b
    Examples:
      truestock verify-ledger
      truestock verify-ledger \\
        --database-url postgresql://me@localhost/truestock --json
    """
    from service.cli.commands import database_commands

    settings = settings_of(data_dir=data_dir, database_url=database_url, database_url_file=database_url_file)
    report = database_commands.verify_ledger(settings)
    values = report.as_dict()
    if as_json:
        print_json(values)
    else:
        table = new_table("ledger", "", numbers=("",))
        for name, value in values.items():
            if not isinstance(value, (list, dict)):
                add_row(table, name.replace("_", " "), f"{value:,}" if type(value) is int else value)
        stdout_console().print(table)
        say(*(str(line) for line in report.differences))
    raise typer.Exit(0 if report.balanced else 1)


app.command(rich_help_panel=_RULES)(facts_command.facts)
app.command(rich_help_panel=_RULES)(stock_commands.policies)
app.add_typer(access_commands.app, rich_help_panel=_SERVICE)
app.add_typer(audit_commands.app, rich_help_panel=_SERVICE)
app.add_typer(rules_commands.app, rich_help_panel=_RULES)
app.add_typer(history_commands.app, rich_help_panel=_RULES)
app.add_typer(import_commands.app, rich_help_panel=_CATALOG)
app.command("export", rich_help_panel=_CATALOG)(export_command.export)
app.command(rich_help_panel=_CATALOG)(catalog_commands.locations)
app.add_typer(connector_commands.app, rich_help_panel=_CATALOG)
app.add_typer(product_commands.app, rich_help_panel=_CATALOG)
app.add_typer(listing_commands.app, rich_help_panel=_CATALOG)
app.add_typer(kit_commands.app, rich_help_panel=_CATALOG)
app.add_typer(outlet_commands.pools_app, rich_help_panel=_CATALOG)
app.add_typer(outlet_commands.outlets_app, rich_help_panel=_CATALOG)
app.command(rich_help_panel=_CATALOG)(catalog_commands.tags)
app.command(rich_help_panel=_CATALOG)(catalog_commands.categories)
app.command(rich_help_panel=_CATALOG)(feed_commands.feeds)
app.command(rich_help_panel=_STOCK)(stock_commands.availability)
app.command("pickup-locations", rich_help_panel=_STOCK)(pickup_commands.pickup_locations)
app.command(rich_help_panel=_STOCK)(stock_commands.stock)
app.command(rich_help_panel=_STOCK)(movement_commands.movements)
app.add_typer(movement_commands.transfer, rich_help_panel=_STOCK)
app.add_typer(watch_commands.app, name="watch", rich_help_panel=_STOCK)
app.command(rich_help_panel=_ORDERS)(order_commands.allocate)
app.command(rich_help_panel=_ORDERS)(order_commands.confirm)
app.command(rich_help_panel=_ORDERS)(order_commands.extend)
app.command(rich_help_panel=_ORDERS)(order_commands.release)
app.command(rich_help_panel=_ORDERS)(order_commands.release_hold)
app.command(rich_help_panel=_ORDERS)(order_commands.forget_order)
app.command(rich_help_panel=_ORDERS)(order_commands.cancel)
app.command(rich_help_panel=_ORDERS)(order_commands.request_cancel)
app.command(rich_help_panel=_ORDERS)(decision_commands.orders)
app.command(rich_help_panel=_ORDERS)(explain_command.explain)
app.command("replay-decision", rich_help_panel=_ORDERS)(decision_commands.replay_decision)
app.command("replay-orders", rich_help_panel=_ORDERS)(replay_command.replay_orders)
app.command(rich_help_panel=_FULFILLMENT)(shipment_commands.shipments)
app.add_typer(shipment_commands.shipment, name="shipment", rich_help_panel=_FULFILLMENT)
app.command("return", rich_help_panel=_FULFILLMENT)(shipment_commands.record_return)
app.add_typer(exception_commands.app, rich_help_panel=_FULFILLMENT)
app.command(rich_help_panel=_FULFILLMENT)(channel_figure_commands.channel_figures)
app.command(rich_help_panel=_FULFILLMENT)(sync_commands.report_failure)
app.command(rich_help_panel=_FULFILLMENT)(sync_commands.report_recovery)
app.command(rich_help_panel=_FULFILLMENT)(report_command.report)
app.command(rich_help_panel=_FULFILLMENT)(readiness_command.readiness)
