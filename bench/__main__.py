"""`python -m bench`: lists the benchmarks and runs them, each on a temporary PostgreSQL of its own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated

import structlog
import typer
import uvloop

from bench import call_cost, cold_skus, hot_sku, result_files, results_page, rule_evaluation, rule_reloads
from bench.bench_report import Report
from bench.rounds import Pace, WrongAnswer
from service.cli.console import add_row, new_table, print_json, say, stdout_console
from service.database.embedded.postgres import temporary_postgres

app = typer.Typer(
    help="Runs benchmarks of Truestock; each compares variants that run in turns and reports ratios.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A function that measures on the database with the given URL, and its usual pace."""

    measure: Callable[[str, Pace], Awaitable[Report]]
    pace: Pace
    help: str


BENCHMARKS = {
    hot_sku.NAME: Benchmark(hot_sku.measure, hot_sku.PACE, "one hot SKU: allocation queue ÷ transaction per order"),
    call_cost.NAME: Benchmark(call_cost.measure, call_cost.PACE, "CheckAvailability and AllocateOrder ÷ a bare echo"),
    cold_skus.NAME: Benchmark(
        cold_skus.measure, cold_skus.PACE, "p99 of orders of cold SKUs: with a hot SKU ÷ without"
    ),
    rule_evaluation.NAME: Benchmark(
        rule_evaluation.measure, rule_evaluation.PACE, "cached rules ÷ durable-rules; 1,000 rules ÷ 10 rules"
    ),
    rule_reloads.NAME: Benchmark(
        rule_reloads.measure, rule_reloads.PACE, "failed calls, mixed decisions and memory while rules change"
    ),
}
ALL = "all"


@app.command("list")
def list_benchmarks() -> None:
    """Lists the benchmarks."""
    table = new_table("name", "what is measured", "rounds", "seconds", numbers=("rounds", "seconds"))
    for name, benchmark in BENCHMARKS.items():
        add_row(table, name, benchmark.help, benchmark.pace.rounds, f"{benchmark.pace.seconds:g}")
    stdout_console().print(table)


@app.command()
def run(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(BENCHMARKS)}; or {ALL}.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    seconds: Annotated[
        float | None, typer.Option(min=0.05, max=120, help="Seconds that each variant runs in each round.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, max=100, help="Number of rounds.")] = None,
    write: Annotated[
        bool | None,
        typer.Option("--write/--no-write", help=f"Write the results to bench/RESULTS.md; {ALL} writes them anyway."),
    ] = None,
) -> None:
    """Runs one benchmark, or all. Exits with 1 if the service answered wrongly under load."""
    if name not in (*BENCHMARKS, ALL):
        raise typer.BadParameter(f"{name!r} is unknown; use one of {', '.join(BENCHMARKS)}, {ALL}", param_hint="NAME")
    # Logs go to standard error, out of the JSON, and only from warnings up: a thousand reloads would fill the screen.
    warnings_only = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=warnings_only, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    # Taken now, because the results that are written change the working tree.
    reports, revision = [], result_files.current_revision()
    for benchmark_name in BENCHMARKS if name == ALL else [name]:
        if not json:
            say(f"Running {benchmark_name}: {BENCHMARKS[benchmark_name].help} …")
        reports.append(_run(BENCHMARKS[benchmark_name], seconds, rounds))
        if write or (write is None and name == ALL):
            _write(reports[-1], revision)
        if not json:
            reports[-1].show(stdout_console())
    if json:
        print_json(_merge(reports) if name == ALL else reports[0].as_dict())


def _run(benchmark: Benchmark, seconds: float | None, rounds: int | None) -> Report:
    pace = replace(benchmark.pace, seconds=seconds or benchmark.pace.seconds, rounds=rounds or benchmark.pace.rounds)
    try:
        with temporary_postgres() as server:
            # The event loop of the service.
            report = uvloop.run(_measure(benchmark, server.database_url, pace))
    except WrongAnswer as error:
        say(f"Wrong answer under load: {error}")
        raise typer.Exit(1) from error
    _check_durability(report)
    return report


async def _measure(benchmark: Benchmark, url: str, pace: Pace) -> Report:
    return await benchmark.measure(url, pace)


def _check_durability(report: Report) -> None:
    """Exits with 1 if commits were not durable: such figures cannot be compared with those of a durable database."""
    for setting in ("fsync", "synchronous_commit"):
        if report.settings.get(setting, "on") != "on":
            say(f"{setting} is {report.settings[setting]}, so commits were not durable; set it to on and run again")
            raise typer.Exit(1)


def _write(report: Report, revision: str) -> None:
    """Replaces the part of this benchmark in RESULTS.md."""
    result_files.save(result_files.new_result(report, revision))
    results_page.write_page(result_files.load(BENCHMARKS))


def _merge(reports: list[Report]) -> dict[str, object]:
    return {
        "ratios": {ratio.name: round(ratio.value, 4) for report in reports for ratio in report.ratios},
        "benchmarks": {report.name: report.as_dict() for report in reports},
    }


if __name__ == "__main__":
    app(prog_name="python -m bench")
