"""Short units as parts of kits and of a channel's items: what happens to one unit of a whole happens to all of it.

A part of an item may be there while the rest is oversold. Both are short, each for its own reason, and stay together:
an item of which one unit is cancelled would leave units that nobody ordered so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from policies.decisions.shortages import KEPT_TOGETHER
from service.orders.allocation_record import OVERSELL, AllocationRecord, LineRecord, ShortageRecord

Whole = tuple[str, int]
"""The line that ordered kits, and 0, for all of them are handled alike; or that of items, and the number of an item."""


@dataclass(frozen=True, slots=True)
class ShortPart:
    """Short units of one line. Those of the same `whole` are handled alike; None if they are handled by themselves."""

    short: ShortageRecord
    whole: Whole | None = None


@dataclass(frozen=True, slots=True)
class ShortParts:
    """New short units of an order: the `missing` ones, and by their whole those that are short only because of them."""

    missing: Sequence[ShortPart]
    waiting: Mapping[Whole, Sequence[ShortageRecord]]


def short_parts(record: AllocationRecord, shortages: Sequence[ShortageRecord]) -> ShortParts:
    """The shortages of a plan as parts of wholes. Units beyond whole items are parts as well."""
    lines = {line.line_id: line for line in record.lines}
    kits = {kit.line_id for x in shortages if x.cause != KEPT_TOGETHER and (kit := lines[x.line_id].kit) is not None}
    missing: list[ShortPart] = []
    waiting: dict[Whole, list[ShortageRecord]] = {}
    for line_id, of_line in _by_line(shortages).items():
        line = lines[line_id]
        for part in _parts(line, of_line):
            is_kept = part.short.cause == KEPT_TOGETHER and part.whole is not None
            if is_kept and part.whole is not None and (line.kit is None or line.kit.line_id in kits):
                waiting.setdefault(part.whole, []).append(part.short)
            else:
                missing.append(part)
    return ShortParts(missing, waiting)


def with_their_wholes(record: AllocationRecord, short: Sequence[ShortageRecord]) -> list[ShortageRecord]:
    """Stored shortages, and as many units of others as complete their kits and items; a shortage may be in two parts.

    Units are preferred that are short only because of these, and that wait as these do.
    """
    touched = dict.fromkeys(_line_of_whole(line) for x in short if _is_part(line := record.line(x.line_id)))
    found = list(short)
    for line_id in touched:
        members = [line for line in record.lines if _is_part(line) and _line_of_whole(line) == line_id]
        found += _completing(record, members, short)
    return found


def _completing(
    record: AllocationRecord, members: Sequence[LineRecord], short: Sequence[ShortageRecord]
) -> Iterator[ShortageRecord]:
    """Units of the lines of one kit, or of one item, that complete those that are short."""
    of_whole = {line.line_id for line in members}
    flags = {x.backordered for x in short if x.line_id in of_whole}
    others = [x for x in record.shortages if x.line_id in of_whole and x not in short]
    # All kits that are short only because of others are handled as these are.
    alike = [x for x in others if members[0].kit and x.cause == KEPT_TOGETHER and x.backordered in flags]
    yield from alike
    units = _units_by_line([*(x for x in short if x.line_id in of_whole), *alike])
    wholes = max(-(-units[line.line_id] // _size(line)) for line in members)
    rest = sorted(
        (x for x in others if x not in alike), key=lambda x: (x.backordered not in flags, x.cause != KEPT_TOGETHER)
    )
    for line in members:
        missing = wholes * _size(line) - units[line.line_id]
        yield from _first_units([x for x in rest if x.line_id == line.line_id], missing)


def _parts(line: LineRecord, shortages: Sequence[ShortageRecord]) -> Iterable[ShortPart]:
    """The shortages of one line, cut where an item ends."""
    if line.kit is not None:
        return [ShortPart(x, (line.kit.line_id, 0)) for x in shortages]
    kept = [x for x in shortages if x.cause == KEPT_TOGETHER]
    # Oversold units complete an item first: what only rules keep may be whole items.
    others = sorted((x for x in shortages if x.cause != KEPT_TOGETHER), key=lambda x: x.kind != OVERSELL)
    size = _size(line)
    if size == 1 or not others:
        return [ShortPart(x) for x in shortages]
    there = sum(x.unit_count for x in kept)
    completing = list(_first_units(kept, there % size))
    whole = list(_first_units(kept[::-1], there - there % size))
    return [*map(ShortPart, whole), *_parts_of_items(line.line_id, size, [*completing, *others])]


def _parts_of_items(line_id: str, size: int, shortages: Iterable[ShortageRecord]) -> Iterator[ShortPart]:
    position = 0
    for short in shortages:
        begun = min(short.unit_count, -position % size)
        rest = (short.unit_count - begun) % size
        for count in (begun, short.unit_count - begun - rest, rest):
            if count:
                is_whole = position % size == 0 and count % size == 0
                number = position // size
                yield ShortPart(replace(short, unit_count=count), None if is_whole else (line_id, number))
                position += count


def _first_units(shortages: Iterable[ShortageRecord], count: int) -> Iterator[ShortageRecord]:
    """So many units of these shortages, the first ones first."""
    for short in shortages:
        taken = min(count, short.unit_count)
        if taken > 0:
            yield short if taken == short.unit_count else replace(short, unit_count=taken)
            count -= taken


def _by_line(shortages: Iterable[ShortageRecord]) -> dict[str, list[ShortageRecord]]:
    by_line: dict[str, list[ShortageRecord]] = {}
    for short in shortages:
        by_line.setdefault(short.line_id, []).append(short)
    return by_line


def _units_by_line(shortages: Iterable[ShortageRecord]) -> Counter[str]:
    units: Counter[str] = Counter()
    for short in shortages:
        units[short.line_id] += short.unit_count
    return units


def _is_part(line: LineRecord) -> bool:
    return line.kit is not None or _size(line) > 1


def _line_of_whole(line: LineRecord) -> str:
    return line.line_id if line.kit is None else line.kit.line_id


def _size(line: LineRecord) -> int:
    """Units of the line in one kit or item; 1 of any other line."""
    if line.kit is not None:
        return line.kit.unit_count
    return line.item.units(1) if line.item is not None else 1
