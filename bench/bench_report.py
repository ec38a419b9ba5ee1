"""The results of a benchmark as a table and as JSON: ratios, figures of every variant, settings and the machine."""

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
    """One variant's figure divided by another's, round by round, with the target that it must meet, if any."""

    name: str
    rounds: tuple[float, ...]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)

    @property
    def target(self) -> str:
        """The target in words; empty if there is none."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target; None if there is none."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most


def ratio(
    name: str,
    numerators: Sequence[Figures],
    denominators: Sequence[Figures],
    figure: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Ratio:
    """The ratio of one figure of two variants, round by round."""
    pairs = zip(numerators, denominators, strict=True)
    rounds = tuple(numerator[figure] / denominator[figure] for numerator, denominator in pairs)
    return Ratio(name, rounds, at_least, at_most)


@dataclass(frozen=True, slots=True)
class Report:
    """The results of one benchmark. `settings` are what they depend on, above all the durability of commits."""

    name: str
    pace: Pace
    variants: Mapping[str, Sequence[Figures]]
    ratios: Sequence[Ratio]
    settings: Mapping[str, str | float] = field(default_factory=dict)
    verified: str = ""

    def as_dict(self) -> dict[str, object]:
        """The object that --json prints."""
        return {
            "name": self.name,
            "ratios": {ratio.name: round(ratio.value, 4) for ratio in self.ratios},
            "spread": {ratio.name: [round(min(ratio.rounds), 4), round(max(ratio.rounds), 4)] for ratio in self.ratios},
            "targets": {ratio.name: ratio.target for ratio in self.ratios if ratio.target},
            "variants": {name: list(figures) for name, figures in self.variants.items()},
            "rounds": self.pace.rounds,
            "seconds": self.pace.seconds,
            "settings": dict(self.settings),
            "machine": machine(),
            "verified": self.verified,
        }

    def show(self, console: Console) -> None:
        """Prints the ratios, then the medians of every variant."""
        console.print(f"[bold]{self.name}[/]  {self.pace.rounds} rounds, {self.pace.seconds:g} s per variant and round")
        ratios = new_table("ratio", "median", "min", "max", "target", "met", numbers=("median", "min", "max"))
        for ratio in self.ratios:
            spread = (ratio.value, min(ratio.rounds), max(ratio.rounds))
            add_row(ratios, ratio.name, *map(short, spread), ratio.target, met_word(ratio))
        console.print(ratios)
        figures = new_table("variant", "figure", "median", "min", "max", numbers=("median", "min", "max"))
        for variant, rounds in self.variants.items():
            for name in rounds[0]:
                values = [figure[name] for figure in rounds]
                add_row(figures, variant, name, *map(short, (median(values), min(values), max(values))))
        console.print(figures)
        for name, value in {**self.settings, **machine(), "verified": self.verified}.items():
            console.print(f"  {name}: {value}", markup=False)
        console.print()


def machine() -> dict[str, str | float]:
    """The machine and the versions. Ratios may be compared with those of another machine, figures may not."""
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
    cpu_info = Path("/proc/cpuinfo")
    if not cpu_info.exists():
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in cpu_info.read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.processor()


def met_word(ratio: Ratio) -> str:
    """`yes` or `no`; empty if the ratio has no target."""
    return {True: "yes", False: "no", None: ""}[ratio.met]


def short(value: float) -> str:
    """A figure with as many digits as a table needs."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
