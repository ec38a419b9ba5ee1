"""Writes `bench/RESULTS.md` and its plots from the saved results of the benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from bench.bar_charts import ratio_chart, stacked_chart
from bench.bench_report import met_word, short
from bench.result_files import Result
from bench.rounds import Figures

PAGE = Path(__file__).parent / "RESULTS.md"
PLOTS = "plots"

CPU_PARTS = {
    "server": "server_cpu_us_per_call",
    "PostgreSQL": "postgres_cpu_us_per_call",
    "generator": "generator_cpu_us_per_call",
}
"""The figures of CPU time, by whose it is."""

EARLIER_REVISION, EARLIER_DATE = "1c9107f", "2026-11-26"
EARLIER = {
    "check_availability_vs_empty": 0.47,
    "allocate_vs_empty": 0.17,
    "allocate_vs_empty_256": 0.22,
    "allocate_cpu_vs_empty": 4.5,
    "allocator_vs_transaction_1": 0.96,
    "allocator_vs_transaction_256": 6.4,
    "cold_p99_ratio": 8.9,
    "longest_callback_cpu_ms": 370.0,
    "plan_3x10_vs_empty_call": 2.9,
    "route_3x200_cold_ms": 5.9,
    "route_3x200_warm_ms": 5.9,
    "memoised_vs_durable_rules": 14.9,
    "rules_1000_vs_10": 1.06,
    "goodput_4x_vs_1x": 0.23,
    "allocate_p50": 0.9,
    "check_p50": 0.8,
    "lists_p50": 27.0,
}
"""Ratios of an earlier revision, measured alone on a machine of two cores with the benchmarks of that day."""

_HEAD = f"""\
# Results of the benchmarks

`python -m bench run all` writes this page; `python -m bench run NAME --write` and `python -m bench compare --write`
replace the part of one benchmark. [results/](results) has every round.

Variants run in turns (A B A B …), so that other load on the machine affects all of them alike. A ratio is taken round
by round; the table shows its median, its least and its most. Ratios may be compared between machines, other figures
only within one run.

## Ratios

`{EARLIER_REVISION}` is what an earlier revision came to on {EARLIER_DATE}. Its denominator of `…_vs_empty` was the
empty call of the service's own server without uvloop, its `allocate_cpu_vs_empty` an estimate, and its
`longest_callback_cpu_ms` the time of the clock.
"""


def write_page(results: Sequence[Result], page: Path = PAGE) -> None:
    """Writes the page, and its plots into a folder beside it."""
    plots = page.parent / PLOTS
    plots.mkdir(exist_ok=True)
    sections = [_HEAD, *_ratios(results, plots)]
    for result in results:
        sections += _benchmark(result, plots)
    page.write_text("\n".join(sections), encoding="utf-8")


def _ratios(results: Sequence[Result], plots: Path) -> Iterator[str]:
    rows = [(result, ratio) for result in results for ratio in result.report.ratios]
    yield _table(
        ("benchmark", "ratio", "median", "least to most", "bar", "met", f"`{EARLIER_REVISION}`"),
        (
            (
                f"[{result.report.name}](#{result.report.name})",
                f"`{ratio.name}`",
                short(ratio.value),
                _spread(ratio.rounds),
                ratio.target,
                met_word(ratio),
                short(EARLIER[ratio.name]) if ratio.name in EARLIER else "",
            )
            for result, ratio in rows
        ),
        numbers=(2, 3, 6),
    )
    with_bar = [ratio for _, ratio in rows if ratio.target]
    if with_bar:
        (plots / "ratios.svg").write_text(ratio_chart(with_bar, EARLIER), encoding="utf-8")
        yield f"![Each ratio in units of its bar: to the right is better]({PLOTS}/ratios.svg)\n"
        yield f"Green meets its bar; the line spans the rounds; the circle is `{EARLIER_REVISION}`.\n"


def _benchmark(result: Result, plots: Path) -> Iterator[str]:
    report = result.report
    yield f"## {report.name}\n"
    yield (
        f"{result.finish_time}, revision `{result.revision or 'unknown'}`: {report.pace.rounds} rounds, "
        f"{report.pace.seconds:g} s per variant and round.\n"
    )
    if report.verified:
        yield f"Verified: {report.verified}.\n"
    cpu = {name: parts for name, rounds in report.variants.items() if (parts := _cpu(rounds))}
    if cpu:
        path = f"{PLOTS}/cpu-{report.name}.svg"
        (plots.parent / path).write_text(stacked_chart(cpu, "µs"), encoding="utf-8")
        yield f"![CPU time of each variant in microseconds a call]({path})\n"
    yield _table(("variant", "figure", "median", "least to most"), _figures(report.variants), numbers=(2, 3))
    settings = {**report.settings, **result.machine}
    yield _table(
        ("setting", "value"), ((f"`{name}`", _setting(value)) for name, value in settings.items() if value != "")
    )


def _figures(variants: Mapping[str, Sequence[Figures]]) -> Iterator[tuple[str, ...]]:
    for variant, rounds in variants.items():
        for number, name in enumerate(rounds[0]):
            values = [figures[name] for figures in rounds]
            yield ("" if number else variant, f"`{name}`", short(median(values)), _spread(values))


def _cpu(rounds: Sequence[Figures]) -> dict[str, float]:
    """Microseconds of CPU a call by part, if the benchmark has measured the server's."""
    if CPU_PARTS["server"] not in rounds[0]:
        return {}
    return {part: median(figures.get(name, 0.0) for figures in rounds) for part, name in CPU_PARTS.items()}


def _setting(value: str | float) -> str:
    return short(value) if isinstance(value, float) else str(value)


def _spread(values: Sequence[float]) -> str:
    return f"{short(min(values))} to {short(max(values))}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table of Markdown; the columns at `numbers` are aligned right."""
    rules = ("--:" if column in numbers else ":--" for column in range(len(head)))
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, tuple(rules), *escaped))
