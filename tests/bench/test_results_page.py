"""Results of benchmarks are kept in files, and a page shows them beside their bars."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import result_files
from bench.bar_charts import attainment
from bench.bench_report import Ratio, Report
from bench.result_files import Result
from bench.results_page import write_page
from bench.rounds import Pace

CPU = {"server_cpu_us_per_call": 400.0, "postgres_cpu_us_per_call": 100.0, "generator_cpu_us_per_call": 150.0}
CALLS = Report(
    name="calls",
    pace=Pace(rounds=3, seconds=2),
    variants={"AllocateOrder | SOLD": [{"calls_per_second": 1_500.0, **CPU}] * 3},
    ratios=[
        Ratio("allocate_vs_empty", (0.26, 0.30, 0.28), at_least=0.25),
        Ratio("cold_p99_ratio", (3.5, 3.0, 4.0), at_most=2.0),
        Ratio("without_bar", (1.0, 1.0, 1.0)),
    ],
    settings={"fsync": "on", "callers": 64},
    verified="ledger balances",
)
RESULT = Result(CALLS, "0a1b2c3", "2026-11-27 04:00 UTC", {"cores": 2})


def page_of(folder: Path) -> str:
    write_page([RESULT], folder / "RESULTS.md")
    return (folder / "RESULTS.md").read_text(encoding="utf-8")


def test_the_page_shows_a_ratio_with_its_spread_its_bar_and_its_earlier_value(tmp_path: Path) -> None:
    assert (
        "| [calls](#calls) | `allocate_vs_empty` | 0.28 | 0.26 to 0.3 | ≥ 0.25 | yes | 0.17 |\n"
        "| [calls](#calls) | `cold_p99_ratio` | 3.5 | 3 to 4 | ≤ 2 | no | 8.9 |\n"
        "| [calls](#calls) | `without_bar` | 1 | 1 to 1 |  |  |  |\n"
    ) in page_of(tmp_path)


def test_a_variant_keeps_its_row_whatever_its_name(tmp_path: Path) -> None:
    assert "| AllocateOrder \\| SOLD | `calls_per_second` | 1,500 | 1,500 to 1,500 |" in page_of(tmp_path)


def test_the_page_says_what_was_measured_where_and_when(tmp_path: Path) -> None:
    page = page_of(tmp_path)

    assert "2026-11-27 04:00 UTC, revision `0a1b2c3`: 3 rounds, 2 s per variant and round." in page
    assert "| `cores` | 2 |" in page


@pytest.mark.parametrize("name", ["ratios", "cpu-calls"])
def test_every_plot_of_the_page_is_an_svg_beside_it(name: str, tmp_path: Path) -> None:
    page = page_of(tmp_path)

    assert f"(plots/{name}.svg)" in page
    texts = [element.text for element in ElementTree.parse(tmp_path / "plots" / f"{name}.svg").iter()]
    assert {"ratios": "0.28 (≥ 0.25)", "cpu-calls": "650 µs"}[name] in texts


def test_a_result_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    result_files.save(RESULT, tmp_path)

    assert result_files.load(["cold", "calls"], tmp_path) == [RESULT]


@pytest.mark.parametrize(
    ("ratio", "in_units_of_the_bar"),
    [
        (Ratio("speed", (3.0,), at_least=2.0), 1.5),
        (Ratio("delay", (4.0,), at_most=2.0), 0.5),
        (Ratio("failed_calls", (1.0,), at_most=0.0), 0.0),
        (Ratio("failed_calls", (0.0,), at_most=0.0), 2.0),
    ],
)
def test_one_is_the_bar_of_every_ratio_and_more_is_better(ratio: Ratio, in_units_of_the_bar: float) -> None:
    assert attainment(ratio, ratio.value) == in_units_of_the_bar
