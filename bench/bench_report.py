"""What a measurement came to: figures of every arm, ratios of arms, and where that was; as a table and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

from rich.console import Console

from bench.rounds import Figures, Pace
from service.cli.console import add_row, new_table


@dataclass(frozen=True, slots=True)
class Ratio:
    """One arm's figure divided by another's, round by round. `bar` is DESIGN.md section 8's, if it has one."""

    name: str
    rounds: tuple[float, ...]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)

    @property
    def bar(self) -> str:
        """The bar in words, empty where there is none."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"


def ratio(
    name: str,
    over: Sequence[Figures],
    under: Sequence[Figures],
    figure: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Ratio:
    """The ratio of one figure of two arms that took turns."""
    rounds = tuple(a[figure] / b[figure] for a, b in zip(over, under, strict=True))
    return Ratio(name, rounds, at_least, at_most)


@dataclass(frozen=True, slots=True)
class Report:
    """One measurement. `settings` are what it depends on, durability before all."""

    name: str
    pace: Pace
    arms: Mapping[str, Sequence[Figures]]
    ratios: Sequence[Ratio]
    settings: Mapping[str, str | float] = field(default_factory=dict)
    proof: str = ""

    def as_dict(self) -> dict[str, object]:
        """For --json."""
        return {
            "name": self.name,
            "ratios": {ratio.name: round(ratio.value, 4) for ratio in self.ratios},
            "spread": {ratio.name: [round(min(ratio.rounds), 4), round(max(ratio.rounds), 4)] for ratio in self.ratios},
            "bars": {ratio.name: ratio.bar for ratio in self.ratios if ratio.bar},
            "arms": {name: list(figures) for name, figures in self.arms.items()},
            "rounds": self.pace.rounds,
            "seconds": self.pace.seconds,
            "settings": dict(self.settings),
            "machine": machine(),
            "proof": self.proof,
        }

    def show(self, console: Console) -> None:
        """Prints the ratios, then the medians of every arm."""
        console.print(f"[bold]{self.name}[/]  {self.pace.rounds} rounds of {self.pace.seconds:g} s, arms taking turns")
        ratios = new_table("ratio", "median", "min", "max", "bar", numbers=("median", "min", "max"))
        for found in self.ratios:
            add_row(ratios, found.name, *map(_short, (found.value, min(found.rounds), max(found.rounds))), found.bar)
        console.print(ratios)
        figures = new_table("arm", "figure", "median", "min", "max", numbers=("median", "min", "max"))
        for arm, rounds in self.arms.items():
            for name in rounds[0]:
                values = [figure[name] for figure in rounds]
                add_row(figures, arm, name, *map(_short, (median(values), min(values), max(values))))
        console.print(figures)
        for name, value in {**self.settings, **machine(), "proof": self.proof}.items():
            console.print(f"  {name}: {value}", markup=False)
        console.print()


def machine() -> dict[str, str | float]:
    """What the figures come from; ratios of one run may be compared with another machine's, figures may not."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "load_average": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "grpcio": version("grpcio"),
        "asyncpg": version("asyncpg"),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in information.read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.processor()


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
