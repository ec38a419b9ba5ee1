"""Counts and movements from sources, recorded in one transaction with a fate for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import LargeBinary, Text, delete, select
from sqlalchemy.dialects.postgresql import insert

from policies.counting import Anchor, Assessment, Fate, assess_count, assess_movement
from policies.policy import PolicySet
from service import aftermath, bounds, catalogue, levels, orders
from service.book import Book, Movement
from service.catalogue import CatalogueCache
from service.database import Connection, Statement, any_of, parameter, transposed, unnested
from service.doings import Doings
from service.levels import Heard
from service.stock_requests import Change
from service.tables import Moment, stock_movement, stock_quarantine

_HEARD_BEFORE = Statement(
    select(stock_movement.c.change_id).where(
        stock_movement.c.source == parameter("source", Text), stock_movement.c.change_id == any_of("change_ids", Text)
    )
)
_QUARANTINE = {"change_id": Text, "sku": Text, "location_id": Text, "content": LargeBinary, "reason": Text}
_kept = unnested("kept", **_QUARANTINE)
_insert = insert(stock_quarantine).from_select(
    ["source", *_QUARANTINE, "heard_time"],
    select(parameter("source", Text), *(_kept.c[name] for name in _QUARANTINE), parameter("now", Moment)),
)
_KEEP = Statement(
    _insert.on_conflict_do_update(
        index_elements=["source", "change_id"],
        set_={name: _insert.excluded[name] for name in (*_QUARANTINE, "heard_time") if name != "change_id"},
    )
)
_LET_GO = Statement(
    delete(stock_quarantine).where(
        stock_quarantine.c.source == parameter("source", Text),
        stock_quarantine.c.change_id == any_of("change_ids", Text),
    )
)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one change; `on_hand` afterwards, None where no figure is known."""

    change: Change
    fate: Fate
    reason: str = ""
    on_hand: int | None = None


@dataclass(slots=True)
class _Recording:
    """The state of one transaction: the book, the anchors as they move, and what was said."""

    source: str
    book: Book
    anchors: dict[tuple[str, str], Anchor]
    moved: dict[tuple[tuple[str, str], datetime], int]
    known: set[str]
    heard: dict[tuple[str, str], Heard] = field(default_factory=dict)


async def record(
    connection: Connection,
    source: str,
    changes: Sequence[Change],
    new_id: Callable[[], UUID],
    *,
    cache: CatalogueCache,
    policy_set: PolicySet,
) -> tuple[list[Result], Doings]:
    """Records changes in the order in which they came; what cannot be recorded is kept in quarantine.

    Locks levels like every other writer. A source's change id counts once, whatever comes with it the second time.
    """
    unknown = await _unknown(connection, changes)
    mapped = [change for change in changes if change.change_id not in unknown]
    await orders.lock_needed(connection)
    await levels.ensure(connection, {change.key for change in mapped})
    locked = await levels.lock(connection, {change.sku for change in mapped})
    recording = await _begin(connection, source, mapped, locked, new_id)
    results = [_recorded(recording, change, unknown.get(change.change_id, "")) for change in changes]
    doings = Doings(recording.book)
    await aftermath.follow(connection, doings, cache, policy_set)
    await doings.write(connection)
    await levels.hear(connection, recording.book.now, recording.heard.values())
    await _settle_quarantine(connection, recording, results)
    return results, doings


async def _begin(
    connection: Connection,
    source: str,
    changes: Sequence[Change],
    locked: set[tuple[str, str]],
    new_id: Callable[[], UUID],
) -> _Recording:
    book = await levels.open_book(connection, locked, new_id)
    counts = [(*change.key, change.effective_time) for change in changes if change.kind == "counted"]
    known = await _HEARD_BEFORE.rows(connection, source=source, change_ids=[c.change_id for c in changes])
    return _Recording(
        source=source,
        book=book,
        anchors=await levels.anchors(connection, locked),
        moved=await levels.moved_since(connection, counts) if counts else {},
        known={row["change_id"] for row in known},
    )


async def _unknown(connection: Connection, changes: Sequence[Change]) -> dict[str, str]:
    """Why changes cannot be placed, by change id: they name a SKU or location that the catalogue does not have."""
    skus = await catalogue.missing_products(connection, {change.sku for change in changes})
    locations = await catalogue.missing_locations(connection, {change.location_id for change in changes})
    reasons: dict[str, str] = {}
    for change in changes:
        if change.sku in skus:
            reasons[change.change_id] = f"no product '{change.sku}'; upsert it, then send the change again"
        elif change.location_id in locations:
            reasons[change.change_id] = f"no location '{change.location_id}'; upsert it, then send the change again"
    return reasons


def _recorded(recording: _Recording, change: Change, unknown: str) -> Result:
    if unknown:
        return Result(change, Fate.QUARANTINED, unknown)
    if change.change_id in recording.known:
        reason = f"{recording.source} has sent this change_id before"
        return Result(change, Fate.DUPLICATE, reason, recording.book.levels[change.key].on_hand)
    if change.effective_time > recording.book.now + bounds.CLOCK_AHEAD:
        reason = "its effective_time is more than 5 minutes in the future; mend the source's clock and send it again"
        return Result(change, Fate.QUARANTINED, reason)
    assessment = _assess(recording, change)
    if abs(recording.book.levels[change.key].on_hand + assessment.on_hand_delta) > bounds.COUNTED_UNITS:
        reason = f"it would take the figure past {bounds.COUNTED_UNITS:,} units; check the number"
        return Result(change, Fate.QUARANTINED, reason)
    if assessment.fate is not Fate.QUARANTINED:
        recording.known.add(change.change_id)
        _move(recording, change, assessment)
    return Result(change, assessment.fate, assessment.reason, recording.book.levels[change.key].on_hand)


def _assess(recording: _Recording, change: Change) -> Assessment:
    anchor = recording.anchors.get(change.key)
    if change.kind != "counted":
        return assess_movement(anchor, change.effective_time, change.on_hand_delta)
    level = recording.book.levels[change.key]
    moved = recording.moved[change.key, change.effective_time] + sum(
        m.on_hand
        for m in recording.book.movements
        if (m.sku, m.location_id) == change.key and m.kind != "counted" and m.effective_time > change.effective_time
    )
    return assess_count(
        anchor,
        Anchor(change.effective_time, change.units),
        on_hand=level.on_hand,
        moved_since=moved,
        unavailable_delta=0 if change.unavailable is None else change.unavailable - level.unavailable,
    )


def _move(recording: _Recording, change: Change, assessment: Assessment) -> None:
    recording.book.move(
        Movement(
            id=recording.book.new_id(),
            sku=change.sku,
            location_id=change.location_id,
            kind=change.kind,
            on_hand=assessment.on_hand_delta,
            unavailable=assessment.unavailable_delta,
            held=0,
            allocated=0,
            source=recording.source,
            effective_time=change.effective_time,
            fate=assessment.fate,
            stated=change.units,
            change_id=change.change_id,
        )
    )
    if assessment.fate is not Fate.ACCEPTED:
        return
    before = recording.heard.get(change.key)
    anchor = assessment.anchor or (before.anchor if before else None)
    latest = max(change.effective_time, before.figure_time) if before else change.effective_time
    recording.heard[change.key] = Heard(*change.key, latest, recording.source, anchor)
    if assessment.anchor is not None:
        recording.anchors[change.key] = assessment.anchor


async def _settle_quarantine(connection: Connection, recording: _Recording, results: Sequence[Result]) -> None:
    """Keeps what was quarantined, and lets go of what has been recorded at last."""
    kept = {r.change.change_id: r for r in results if r.fate is Fate.QUARANTINED}
    if kept:
        rows = [(c.change_id, c.sku, c.location_id, c.content, r.reason) for r in kept.values() for c in [r.change]]
        values = transposed(list(_QUARANTINE), rows)
        await _KEEP.run(connection, source=recording.source, now=recording.book.now, **values)
    settled = [r.change.change_id for r in results if r.fate is not Fate.QUARANTINED]
    if settled:
        await _LET_GO.run(connection, source=recording.source, change_ids=settled)
