"""The latest results of each benchmark, one JSON file each in `bench/results/`, from which `RESULTS.md` is written."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.bench_report import Ratio, Report, machine
from bench.rounds import Pace

FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Result:
    """A report, and where it is from. `revision` is the Git commit that was measured; empty outside a clone."""

    report: Report
    revision: str
    finish_time: str
    machine: Mapping[str, str | float]


def new_result(report: Report, revision: str) -> Result:
    """The result of a benchmark that has just ended on this machine."""
    return Result(report, revision, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", machine())


def save(result: Result, folder: Path = FOLDER) -> None:
    """Replaces the file of the benchmark."""
    folder.mkdir(exist_ok=True)
    text = json.dumps(_short(asdict(result)), indent=1, ensure_ascii=False)
    (folder / f"{result.report.name}.json").write_text(text + "\n", encoding="utf-8")


def load(names: Iterable[str], folder: Path = FOLDER) -> list[Result]:
    """The saved results of these benchmarks, in this order; benchmarks that have not been saved are left out."""
    paths = [folder / f"{name}.json" for name in names]
    return [_result(json.loads(path.read_text(encoding="utf-8"))) for path in paths if path.exists()]


def current_revision() -> str:
    """The short hash of the working tree's commit, with `-dirty` if files differ from it; empty outside a clone."""
    command = ["git", "describe", "--always", "--exclude=*", "--dirty"]
    try:
        completed = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return completed.stdout.strip() if completed.returncode == 0 else ""


def _result(fields: dict[str, object]) -> Result:
    report = fields.pop("report")
    assert isinstance(report, dict)
    ratios = [Ratio(**{**ratio, "rounds": tuple(ratio["rounds"])}) for ratio in report.pop("ratios")]
    return Result(report=Report(**{**report, "pace": Pace(**report["pace"]), "ratios": ratios}), **fields)  # type: ignore[arg-type]


def _short(value: object) -> object:
    """Numbers with five digits, because more would only be noise in the files."""
    match value:
        case float():
            return float(f"{value:.5g}")
        case dict():
            return {name: _short(part) for name, part in value.items()}
        case list() | tuple():
            return [_short(part) for part in value]
        case _:
            return value
