"""The `truestock` command: what it can do, and how it fails: plain sentences on stderr, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.cli import options
from service.cli.commands import (
    decision_commands,
    exception_commands,
    facts_command,
    feed_commands,
    file_commands,
    movement_commands,
    order_commands,
    shipment_commands,
    stock_commands,
    watch_commands,
)
from service.cli.console import UserError, output, print_json, row, say, table

if TYPE_CHECKING:
    from service.settings import Settings

app = typer.Typer(
    name="truestock",
    help="What can each channel safely sell right now, and which location should fulfil each order?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Where the embedded PostgreSQL keeps its data. Or TRUESTOCK_DATA_DIR."),
]
DatabaseUrl = Annotated[
    str | None, typer.Option("--database-url", help="An external PostgreSQL 14 or later. Or DATABASE_URL.")
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 1 failed, 2 wrong usage, 130 stopped with Ctrl-C."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="truestock")
    except UserError as error:
        say(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        say("Stopped.")
        sys.exit(file_commands.INTERRUPTED)


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
) -> None:
    """Takes the options that stand before a command."""


@app.command()
def serve(
    address: Annotated[str | None, typer.Option(help="Where gRPC is served. Or TRUESTOCK_ADDRESS.")] = None,
    metrics_address: Annotated[
        str | None, typer.Option(help="Where metrics and health are served. Or TRUESTOCK_METRICS_ADDRESS.")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    rules: Annotated[Path | None, typer.Option(help="The folder that planners edit. Or TRUESTOCK_RULES.")] = None,
    sample: Annotated[
        bool | None, typer.Option("--sample/--no-sample", help="Fill an empty database with the sample retailer.")
    ] = None,
) -> None:
    """Runs the service until Ctrl-C, with its own PostgreSQL unless a database is named.

    \b
    Examples:
      truestock serve
      truestock serve --address 127.0.0.1:50051 --rules rules
      truestock serve --database-url postgresql://me@localhost/truestock
    """
    from service.app.application import StartError
    from service.app.process import serve as run
    from service.policy.active_policies import RulesFolderError

    settings = _settings(
        address=address,
        metrics_address=metrics_address,
        data_dir=data_dir,
        database_url=database_url,
        rules=rules,
        sample=sample,
    )
    try:
        run(settings)
    except (RulesFolderError, StartError) as error:
        raise UserError(str(error)) from error


@app.command()
def check(
    rules: Annotated[Path, typer.Argument(help="The rules folder.")] = Path("rules"),
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    output_format: Annotated[
        Literal["text", "json", "github"], typer.Option("--format", help="For a person, a program or a pull request.")
    ] = "text",
    allow_untested: Annotated[
        bool, typer.Option("--allow-untested", help="Do not fail on rules that no test makes fire.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Check again at every save, until Ctrl-C.")] = False,
) -> None:
    """Reads a rules folder, says everything that is wrong with it, and runs its tests.

    Exit code 1 where anything is wrong.

    \b
    Examples:
      truestock check
      truestock check rules --watch
      truestock check rules --format github
    """
    from service.cli.commands.check_command import Format, run, run_at_every_save

    check_rules = run_at_every_save if watch else run
    told = Format.JSON if as_json else Format(output_format)
    raise typer.Exit(check_rules(rules, output_format=told, allow_untested=allow_untested))


@app.command()
def migrate(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Brings the database's tables up to this version.

    \b
    Example:
      truestock migrate --database-url postgresql://me@localhost/truestock
    """
    from service.cli.commands import database_commands

    database_commands.migrate_database(_settings(data_dir=data_dir, database_url=database_url))
    say("The database is up to date.")


@app.command("verify-ledger")
def verify_ledger(data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: options.Json = False) -> None:
    """Proves that every stock figure is the sum of its movements. Works while the service runs.

    Exit code 1 where a figure is not.

    \b
    Examples:
      truestock verify-ledger
      truestock verify-ledger --database-url postgresql://me@localhost/truestock --json
    """
    from service.cli.commands import database_commands

    report = database_commands.verify_ledger(_settings(data_dir=data_dir, database_url=database_url))
    figures = report.as_dict()
    if as_json:
        print_json(figures)
    else:
        made = table("ledger", "", numbers=("",))
        for name, value in figures.items():
            if not isinstance(value, (list, dict)):
                row(made, name.replace("_", " "), f"{value:,}" if type(value) is int else value)
        output().print(made)
        say(*(str(line) for line in report.differences))
    raise typer.Exit(0 if report.balanced else 1)


app.command()(stock_commands.availability)
app.command()(order_commands.allocate)
app.command()(order_commands.confirm)
app.command()(order_commands.release)
app.command()(order_commands.cancel)
app.command()(order_commands.extend)
app.command()(order_commands.explain)
app.command()(decision_commands.replay)
app.command()(decision_commands.orders)
app.command()(stock_commands.stock)
app.command("import", help=file_commands.IMPORT_HELP)(file_commands.import_)
app.command()(file_commands.play)
app.command()(stock_commands.policies)
app.command()(facts_command.facts)
app.command()(feed_commands.feeds)
app.command()(shipment_commands.shipments)
app.command("return")(shipment_commands.take_back)
app.add_typer(shipment_commands.shipment, name="shipment")
app.command()(movement_commands.movements)
app.add_typer(movement_commands.transfer)
app.add_typer(watch_commands.app, name="watch")
app.add_typer(exception_commands.app)


def _settings(**given: object) -> Settings:
    """Settings from the flags that were given; the environment and the defaults say the rest."""
    from pydantic import ValidationError

    from service.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}" for item in error.errors()
        )
        raise typer.BadParameter("; ".join(problems)) from error
