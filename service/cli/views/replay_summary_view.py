"""What rules would have changed in stored decisions, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.console import add_row, count, format_time, new_table
from service.cli.replay_summary import BY_ITSELF, RESULTS, Change, ReplaySummary, moves_of, outcome_word
from truestock.v1.policy_service_pb2 import DecisionComparison

LISTED = 20
"""Decisions that are listed one by one; `--json` lists all."""


def print_replay(console: Console, summary: ReplaySummary) -> None:
    """Prints how many decisions differ, then a table for each kind of difference."""
    results = ", ".join(f"{summary.results[result]:,} {result.replace('_', ' ')}" for result in RESULTS)
    console.print(f"Rules {summary.policy_revision} on {count(summary.count, 'stored decision')}: {results}.")
    console.print(BY_ITSELF)
    for part in _parts(summary):
        console.print(part)


def _parts(summary: ReplaySummary) -> Iterator[RenderableType]:
    if summary.count > 1:
        yield _channels(summary)
    if summary.results["different"]:
        yield _changes("location", "Units by location", summary.locations)
        yield from _moves(summary)
        yield from _outcomes(summary)
        yield from _shortages(summary)
    yield from _decisions(summary)
    yield from _causes(summary)


def _channels(summary: ReplaySummary) -> RenderableType:
    columns = [result.replace("_", " ") for result in RESULTS]
    table = new_table("channel", "decisions", *columns, numbers=("decisions", *columns), title="By channel")
    for channel_id, counts in sorted(summary.channels.items()):
        add_row(table, channel_id, f"{counts.total():,}", *(f"{counts[result]:,}" for result in RESULTS))
    return table


def _changes(noun: str, title: str, changes: Mapping[str, Change]) -> RenderableType:
    numbers = ("then", "with these rules", "difference")
    table = new_table(noun, *numbers, numbers=numbers, title=title)
    for key, change in sorted(changes.items()):
        difference = change.replayed - change.original
        add_row(table, key, f"{change.original:,}", f"{change.replayed:,}", f"{difference:+,}" if difference else "0")
    return table


def _moves(summary: ReplaySummary) -> Iterator[RenderableType]:
    table = new_table("from", "to", "units", numbers=("units",), title="Units that would have moved")
    for (origin, target), units in summary.moves.most_common():
        add_row(table, origin, target, f"{units:,}")
    yield from _unless_empty(table)


def _outcomes(summary: ReplaySummary) -> Iterator[RenderableType]:
    table = new_table("then", "with these rules", "decisions", numbers=("decisions",), title="Other outcomes")
    for (original, replayed), number in summary.outcomes.most_common():
        add_row(table, original, replayed, f"{number:,}")
    yield from _unless_empty(table)


def _shortages(summary: ReplaySummary) -> Iterator[RenderableType]:
    if summary.shortages:
        yield _changes("reason", "Short units, before exception rules", summary.shortages)
    if summary.reviews != Change():
        yield Text(
            f"Decisions that need a review: {summary.reviews.original:,} then, {summary.reviews.replayed:,} now."
        )


def _decisions(summary: ReplaySummary) -> Iterator[RenderableType]:
    different = [x for x in summary.listed if x.result == DecisionComparison.RESULT_DIFFERENT]
    table = new_table("order", "decided", "what would differ", "decision", title="Decisions that would differ")
    for comparison in different[:LISTED]:
        order = f"{comparison.channel_id}/{comparison.order_id}"
        add_row(table, order, format_time(comparison.decide_time), _difference(comparison), comparison.decision_id)
    yield from _unless_empty(table)
    if len(different) > LISTED:
        yield Text(f"Only the first {LISTED} of {len(different):,}; `--json` lists all.")


def _unless_empty(table: Table) -> Iterator[RenderableType]:
    if table.row_count:
        yield table


def _difference(comparison: DecisionComparison) -> str:
    """Such as `2 MUG from dc to north; allocated, then needs review`."""
    original, replayed = comparison.original, comparison.replayed
    parts = [f"{units} {sku} from {origin} to {target}" for sku, origin, target, units in moves_of(comparison)]
    if original.outcome != replayed.outcome:
        parts.append(f"{outcome_word(original)} becomes {outcome_word(replayed)}")
    elif not parts:
        parts.append("units are short for other reasons")
    if original.routing_policy != replayed.routing_policy:
        parts.append(f"by policy {replayed.routing_policy} instead of {original.routing_policy}")
    return "; ".join(parts)


def _causes(summary: ReplaySummary) -> Iterator[RenderableType]:
    table = new_table("reason", "decisions", numbers=("decisions",), title="Not decidable")
    for cause, number in summary.causes.most_common():
        add_row(table, cause, f"{number:,}")
    yield from _unless_empty(table)
