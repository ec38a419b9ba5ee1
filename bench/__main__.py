"""`python -m bench`: lists the measurements and runs them, each on a PostgreSQL of its own that is thrown away."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated

import structlog
import typer

from bench import call_cost, cold_skus, hot_sku, rule_evaluation, rule_reloads
from bench.bench_report import Report
from bench.rounds import Pace, WrongAnswer
from service.cli.console import add_row, new_table, print_json, say, stdout_console
from service.database.embedded.postgres import temporary_postgres

app = typer.Typer(
    help="Measures Truestock, as ratios of arms that take turns.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One thing that is measured, on the database that a URL names."""

    measure: Callable[[str, Pace], Awaitable[Report]]
    pace: Pace
    help: str


MEASUREMENTS = {
    hot_sku.NAME: Measurement(hot_sku.measure, hot_sku.PACE, "one hot SKU: our allocator ÷ a transaction per order"),
    call_cost.NAME: Measurement(
        call_cost.measure, call_cost.PACE, "CheckAvailability and AllocateOrder ÷ an empty call"
    ),
    cold_skus.NAME: Measurement(cold_skus.measure, cold_skus.PACE, "p99 of cold SKUs while one is hot ÷ while none is"),
    rule_evaluation.NAME: Measurement(
        rule_evaluation.measure, rule_evaluation.PACE, "rules from memory ÷ durable-rules; 1,000 rules ÷ 10"
    ),
    rule_reloads.NAME: Measurement(
        rule_reloads.measure, rule_reloads.PACE, "failed and mixed answers, and memory, while rules change"
    ),
}
ALL = "all"


@app.command("list")
def list_measurements() -> None:
    """Lists the measurements."""
    made = new_table("name", "what is measured", "rounds", "seconds", numbers=("rounds", "seconds"))
    for name, measurement in MEASUREMENTS.items():
        add_row(made, name, measurement.help, measurement.pace.rounds, f"{measurement.pace.seconds:g}")
    stdout_console().print(made)


@app.command()
def run(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(MEASUREMENTS)}; or {ALL}.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    seconds: Annotated[float | None, typer.Option(min=0.05, max=120, help="Seconds of each arm in each round.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, max=100, help="How often the arms take turns.")] = None,
) -> None:
    """Runs a measurement, or all. Exits with 1 where an answer under load was wrong."""
    if name not in (*MEASUREMENTS, ALL):
        raise typer.BadParameter(f"{name!r} is none of {', '.join(MEASUREMENTS)} and {ALL}", param_hint="NAME")
    # Logs of what is measured must not stand in the JSON, and a thousand reloads say nothing one by one.
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=quiet, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    reports = []
    for chosen in MEASUREMENTS if name == ALL else [name]:
        if not json:
            say(f"Measuring {chosen}: {MEASUREMENTS[chosen].help} …")
        reports.append(_measured(MEASUREMENTS[chosen], seconds, rounds))
        if not json:
            reports[-1].show(stdout_console())
    if json:
        print_json(_joined(reports) if name == ALL else reports[0].as_dict())


def _measured(measurement: Measurement, seconds: float | None, rounds: int | None) -> Report:
    pace = replace(
        measurement.pace, seconds=seconds or measurement.pace.seconds, rounds=rounds or measurement.pace.rounds
    )
    try:
        with temporary_postgres() as server:
            report = asyncio.run(_within(measurement, server.database_url, pace))
    except WrongAnswer as wrong:
        say(f"Wrong under load: {wrong}")
        raise typer.Exit(1) from wrong
    _check_durable(report)
    return report


async def _within(measurement: Measurement, url: str, pace: Pace) -> Report:
    return await measurement.measure(url, pace)


def _check_durable(report: Report) -> None:
    """Figures of a database that does not sync are worth nothing beside those of one that does."""
    for setting in ("fsync", "synchronous_commit"):
        if report.settings.get(setting, "on") != "on":
            say(f"{setting} is {report.settings[setting]}; nothing that was measured is durable")
            raise typer.Exit(1)


def _joined(reports: list[Report]) -> dict[str, object]:
    return {
        "ratios": {ratio.name: round(ratio.value, 4) for report in reports for ratio in report.ratios},
        "measurements": {report.name: report.as_dict() for report in reports},
    }


if __name__ == "__main__":
    app(prog_name="python -m bench")
