"""`python -m bench`: lists the benchmarks and runs them, each on a temporary PostgreSQL of its own."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated

import structlog
import typer
import uvloop
from rich.console import Console

from bench import (
    access_cost,
    call_cost,
    capacity_cost,
    channel_intake,
    cold_skus,
    event_loop,
    growth,
    hot_sku,
    log_cost,
    memory,
    order_planning,
    overload,
    result_files,
    results_page,
    rule_evaluation,
    rule_reloads,
    speed_gate,
    storage,
    workers,
)
from bench.bench_report import Report
from bench.compare import comparison
from bench.compare.revision import DEFAULT_REVISION, RevisionError, build, find_commit, working_tree
from bench.compare.served_tree import StartFailed
from bench.load import load_run
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
    access_cost.NAME: Benchmark(
        access_cost.measure, access_cost.PACE, "calls with mutual TLS and tokens ÷ without; beside refused ones"
    ),
    log_cost.NAME: Benchmark(
        log_cost.measure, log_cost.PACE, "CPU of calls with the log as it is by default ÷ without"
    ),
    capacity_cost.NAME: Benchmark(
        capacity_cost.measure, capacity_cost.PACE, "CPU of orders at locations that state a capacity ÷ at others"
    ),
    cold_skus.NAME: Benchmark(
        cold_skus.measure, cold_skus.PACE, "p99 of orders of cold SKUs: with a hot SKU ÷ without"
    ),
    event_loop.NAME: Benchmark(
        event_loop.measure, event_loop.PACE, "longest callback of the event loop: bursts of orders; one large order"
    ),
    overload.NAME: Benchmark(overload.measure, overload.PACE, "orders answered in time at 4 times capacity ÷ capacity"),
    order_planning.NAME: Benchmark(
        order_planning.measure, order_planning.PACE, "CPU of planning an order alone, ÷ a bare echo and in ms"
    ),
    rule_evaluation.NAME: Benchmark(
        rule_evaluation.measure, rule_evaluation.PACE, "cached rules ÷ durable-rules; 1,000 rules ÷ 10 rules"
    ),
    rule_reloads.NAME: Benchmark(
        rule_reloads.measure, rule_reloads.PACE, "failed calls, mixed decisions and memory while rules change"
    ),
    storage.NAME: Benchmark(storage.measure, storage.PACE, "bytes in the database for each order that was delivered"),
    workers.NAME: Benchmark(workers.measure, workers.PACE, "CheckAvailability by two workers ÷ by one process"),
    memory.NAME: Benchmark(memory.measure, memory.PACE, "memory after a million calls ÷ after 10,000"),
    channel_intake.NAME: Benchmark(
        channel_intake.measure, channel_intake.PACE, "webhooks taken a second ÷ a bare route with one insert"
    ),
    growth.NAME: Benchmark(growth.measure, growth.PACE, "calls and lists with 300,000 orders ÷ with 1,500"),
}
ALL = "all"
NAMES = (*BENCHMARKS, comparison.NAME)
COMPARE_HELP = "throughput, p99 and CPU a call of six loads, ÷ those of another revision"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Seconds = Annotated[float | None, typer.Option(min=0.05, max=120, help="Seconds that each variant runs in each round.")]
Rounds = Annotated[int | None, typer.Option(min=1, max=100, help="Number of rounds.")]


@app.command("list")
def list_benchmarks() -> None:
    """Lists the benchmarks."""
    table = new_table("name", "what is measured", "rounds", "seconds", numbers=("rounds", "seconds"))
    for name, benchmark in BENCHMARKS.items():
        add_row(table, name, benchmark.help, benchmark.pace.rounds, f"{benchmark.pace.seconds:g}")
    pace = comparison.PACE
    add_row(table, comparison.NAME, COMPARE_HELP, pace.rounds, f"{pace.seconds:g}")
    stdout_console().print(table)


@app.command()
def run(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}; or {ALL}.")],
    json: Json = False,
    seconds: Seconds = None,
    rounds: Rounds = None,
    write: Annotated[
        bool | None,
        typer.Option("--write/--no-write", help=f"Write the results to bench/RESULTS.md; {ALL} writes them anyway."),
    ] = None,
) -> None:
    """Runs one benchmark, or all. Exits with 1 if the service answered wrongly under load."""
    if name not in (*NAMES, ALL):
        raise typer.BadParameter(f"{name!r} is unknown; use one of {', '.join(NAMES)}, {ALL}", param_hint="NAME")
    _log_warnings_only()
    output = _Output(json, (name == ALL) if write is None else write)
    for benchmark_name, benchmark in BENCHMARKS.items():
        if name in (ALL, benchmark_name):
            output.say(f"Running {benchmark_name}: {benchmark.help} …")
            output.add(_run(benchmark, seconds, rounds))
    if name in (ALL, comparison.NAME):
        output.say(f"Running {comparison.NAME}: {COMPARE_HELP} …")
        try:
            output.add(_compare(DEFAULT_REVISION, seconds, rounds))
        except RevisionError as error:
            say(str(error))
            if name != ALL:
                raise typer.Exit(1) from error
    if json:
        print_json(_merge(output.reports) if name == ALL else output.reports[0].as_dict())


@app.command(help=f"Compares the service of this working tree with that of another revision: {COMPARE_HELP}.")
def compare(
    revision: Annotated[str, typer.Argument(help="A commit, branch or tag.")] = DEFAULT_REVISION,
    json: Json = False,
    seconds: Seconds = None,
    rounds: Rounds = None,
    write: Annotated[bool, typer.Option("--write", help="Write the results to bench/RESULTS.md.")] = False,
) -> None:
    """Builds the revision from Git, once, and drives the same load at both services in turns."""
    _log_warnings_only()
    output = _Output(json, write)
    try:
        output.add(_compare(revision, seconds, rounds))
    except RevisionError as error:
        say(str(error))
        raise typer.Exit(1) from error
    if json:
        print_json(output.reports[0].as_dict())


class _Output:
    """Shows reports as they come, unless as JSON at the end, and writes them to RESULTS.md if that is asked for."""

    def __init__(self, json: bool, write: bool) -> None:
        self.reports: list[Report] = []
        self._json, self._write = json, write
        # Taken now, because the results that are written change the working tree.
        self._revision = result_files.current_revision()

    def say(self, sentence: str) -> None:
        """Prints on stderr what runs now."""
        if not self._json:
            say(sentence)

    def add(self, report: Report) -> None:
        """Takes the report of a benchmark that has ended."""
        self.reports.append(report)
        if self._write:
            result_files.save(result_files.new_result(report, self._revision))
            results_page.write_page(result_files.load(NAMES))
        if not self._json:
            report.show(stdout_console())


def _log_warnings_only() -> None:
    """Logs go to standard error, out of the JSON, and only from warnings up: reloads by the thousand would fill it."""
    warnings_only = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=warnings_only, logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def _compare(revision: str, seconds: float | None, rounds: int | None) -> Report:
    """Raises RevisionError if the revision cannot be built."""
    pace = _pace(comparison.PACE, seconds, rounds)
    try:
        with Console(stderr=True).status("") as status:
            commit = find_commit(revision)
            status.update(f"Building {commit[:7]}, which takes a minute the first time")
            base = build(commit)
            return uvloop.run(comparison.measure(working_tree(), base, pace, step=status.update))
    except WrongAnswer as error:
        say(f"Wrong answer under load: {error}")
    except StartFailed as error:
        say(str(error))
    except asyncio.CancelledError:
        say("Stopped.")
    raise typer.Exit(1)


def _pace(usual: Pace, seconds: float | None, rounds: int | None) -> Pace:
    return replace(usual, seconds=seconds or usual.seconds, rounds=rounds or usual.rounds)


def _run(benchmark: Benchmark, seconds: float | None, rounds: int | None) -> Report:
    pace = _pace(benchmark.pace, seconds, rounds)
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


def _merge(reports: list[Report]) -> dict[str, object]:
    return {
        "ratios": {ratio.name: round(ratio.value, 4) for report in reports for ratio in report.ratios},
        "benchmarks": {report.name: report.as_dict() for report in reports},
    }


app.command("check-speed")(speed_gate.check_speed)
app.command("load")(load_run.load)

if __name__ == "__main__":
    app(prog_name="python -m bench")
