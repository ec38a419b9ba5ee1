"""The metrics of all processes of a service as those of one.

The multiprocess mode of prometheus_client does not fit: in it gauges cannot be removed or left to one process, which
those of the database and of the rules in force are, and counters keep no exemplars.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.samples import Exemplar, Sample

from service.metrics.kinds import OTHER, Across, LabelBound

Labels = tuple[tuple[str, str], ...]
Families = Sequence[Metric]
"""The metrics of one process, as its registry collects them."""

CHECKED = "truestock_readiness_checked_timestamp_seconds"
CHANNEL = "channel"


@dataclass(frozen=True, slots=True)
class MergeRules:
    """What metrics of several processes are together, by the name of the metric."""

    across: Mapping[str, Across]
    bounds: Mapping[str, LabelBound]


class MergedMetrics:
    """Adds up what processes report. What one counted stays counted when it has ended, its gauges do not."""

    def __init__(self, rules: MergeRules) -> None:
        self._rules = rules
        self._last: dict[int, Families] = {}
        self._ended: Families = ()
        self._admitted: dict[LabelBound, set[tuple[str, ...]]] = {}

    def report(self, worker: int, families: Families) -> None:
        """Takes the newest metrics of a process."""
        self._last[worker] = families

    def end(self, worker: int) -> None:
        """Notes that a process has ended; one that takes its number starts at 0."""
        counted = [family for family in self._last.pop(worker, ()) if family.name not in self._rules.across]
        self._ended = self._merged([self._ended, counted])

    def collect(self, others: Families = ()) -> list[Metric]:
        """The metrics of all processes, and `others` with them."""
        return self._merged([self._ended, *(self._last[worker] for worker in sorted(self._last)), others])

    def _merged(self, processes: Sequence[Families]) -> list[Metric]:
        groups: dict[str, list[Metric]] = {}
        for families in processes:
            for family in families:
                groups.setdefault(family.name, []).append(family)
        latest = _latest(groups.get(CHECKED, ()))
        return [self._family(name, families, latest) for name, families in groups.items()]

    def _family(self, name: str, families: Sequence[Metric], latest: Mapping[str, int]) -> Metric:
        across = self._rules.across.get(name, Across.SUM)
        if across is Across.DATABASE:
            # The lease lets one process report; while it passes to another, the newer one has it.
            families = families[-1:]
        elif across is Across.LATEST:
            families = _of_latest(families, latest)
        bound = self._rules.bounds.get(name)
        samples: dict[tuple[str, Labels], Sample] = {}
        for sample in (sample for family in families for sample in family.samples):
            labels = sample.labels if bound is None else self._bounded(bound, sample.labels)
            key = (sample.name, tuple(labels.items()))
            known = samples.get(key)
            samples[key] = sample._replace(labels=labels) if known is None else _together(across, known, sample)
        merged = Metric(name, families[0].documentation, families[0].type, families[0].unit)
        merged.samples = list(samples.values())
        return merged

    def _bounded(self, bound: LabelBound, labels: dict[str, str]) -> dict[str, str]:
        """The labels, with "other" if their value is one more than processes together may have."""
        value = labels[bound.label]
        admitted = self._admitted.setdefault(bound, set())
        key = (value, *(labels[name] for name in bound.beside))
        if value == OTHER or key in admitted:
            return labels
        if len(admitted) >= bound.count:
            return labels | {bound.label: OTHER}
        admitted.add(key)
        return labels


def _together(across: Across, known: Sample, sample: Sample) -> Sample:
    if across is Across.HIGHEST:
        return known._replace(value=max(known.value, sample.value))
    if across is Across.LOWEST:
        return known._replace(value=min(known.value, sample.value))
    return known._replace(value=known.value + sample.value, exemplar=_newer(known, sample))


def _newer(known: Sample, sample: Sample) -> Exemplar | None:
    if known.exemplar is None or sample.exemplar is None:
        return known.exemplar or sample.exemplar
    return max(known.exemplar, sample.exemplar, key=lambda exemplar: exemplar.timestamp or 0)


def _latest(checked: Iterable[Metric]) -> dict[str, int]:
    """By channel, which of the processes that have checked any checked it last."""
    times: dict[str, tuple[float, int]] = {}
    for number, family in enumerate(checked):
        for sample in family.samples:
            channel = sample.labels[CHANNEL]
            times[channel] = max(times.get(channel, (0.0, number)), (sample.value, number))
    return {channel: number for channel, (_, number) in times.items()}


def _of_latest(families: Sequence[Metric], latest: Mapping[str, int]) -> list[Metric]:
    """The same metric of each process, with the channels that it checked last."""
    kept = []
    for number, family in enumerate(families):
        part = Metric(family.name, family.documentation, family.type, family.unit)
        part.samples = [sample for sample in family.samples if latest.get(sample.labels[CHANNEL]) == number]
        kept.append(part)
    return kept
