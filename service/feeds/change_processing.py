"""What one transaction makes of stated changes, one after another, in its book. Nothing here touches the database.

`policies.stock.counting` and `.feeds` decide; this tells them what is known, and keeps what follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from policies.explanation import unit_count_text
from policies.stock import confidence, unavailable
from policies.stock.counting import (
    SETTING_ASIDE_SIGNS,
    Anchor,
    Assessment,
    ChangeResult,
    QuarantineCause,
    assess_count,
    assess_movement,
    assess_setting_aside,
    assess_untracked,
    on_hand_effect,
    unavailable_effect,
)
from policies.stock.feeds import Feed, FeedAuthority, differs, feed_authority, on_hand_from_count, open_order_units
from service import limits
from service.feeds.stock_change import ReportedCount, ReportedIncoming, ReportedMovement, StockChange
from service.stock.provenance import CountBasis, ReportedFigure
from service.stock.stock_book import Book, Key, Movement
from service.stock.stock_history import History

NO_BASIS = CountBasis(None, None)


@dataclass(frozen=True, slots=True)
class RecordedChange:
    """What became of one change; `on_hand` afterwards, None where no figure is known.

    `cause` is set where it is kept aside. `difference` is by how many units an observation was above what is known at
    its time, None where nothing was compared; `mismatch` says that this is too far.
    """

    change: StockChange
    result: ChangeResult
    reason: str = ""
    on_hand: int | None = None
    cause: QuarantineCause | None = None
    difference: int | None = None
    mismatch: bool = False


@dataclass(frozen=True, slots=True)
class DeliveryArrival:
    """Units of a delivery that have come, which so much less is incoming of."""

    change: StockChange
    reference: str
    units: int


@dataclass(slots=True)
class ChangeRecorder:
    """The state of one transaction: the book, what its figures rest on, and what was said so far."""

    book: Book
    feeds: Mapping[str, Feed]
    bases: dict[Key, CountBasis]
    history: History
    unavailable: dict[Key, dict[str, int]]
    """Unavailable units by reason."""
    untracked_since: dict[Key, datetime]
    recorded_ids: set[tuple[str, str]]
    """(source, change id) of what was recorded before."""
    figures: dict[Key, ReportedFigure] = field(default_factory=dict)
    deliveries: list[DeliveryArrival | tuple[StockChange, ReportedIncoming]] = field(default_factory=list)
    """What was said of units on their way, in the order in which it was said."""

    def record(self, change: StockChange, unmapped: str) -> RecordedChange:
        """Records a change, or says why not; `unmapped` is what of it the catalogue does not have, if anything."""
        if unmapped:
            return RecordedChange(change, ChangeResult.QUARANTINED, unmapped, cause=QuarantineCause.UNMAPPED)
        if (change.source, change.change_id) in self.recorded_ids:
            return self._result(
                change, Assessment(ChangeResult.DUPLICATE, f"{change.source} has sent this change_id before")
            )
        if change.effective_time > self.book.now + limits.CLOCK_SKEW:
            reason = "its effective_time is more than 5 minutes in the future; it is taken up when its time has come"
            return self._result(change, Assessment(ChangeResult.QUARANTINED, reason, cause=QuarantineCause.AHEAD))
        result = self._record_by_type(change, feed_authority(self.feeds, change.source, *change.key))
        if result.result is not ChangeResult.QUARANTINED:
            self.recorded_ids.add((change.source, change.change_id))
        return result

    def _record_by_type(self, change: StockChange, place: FeedAuthority) -> RecordedChange:
        if change.count is not None:
            return self._record_count(change, change.count, place)
        if change.movement is not None:
            return self._record_movement(change, change.movement, place)
        if change.incoming is not None:
            return self._record_incoming(change, change.incoming, place)
        return self._record_untracked(change, place)

    def _record_count(self, change: StockChange, count: ReportedCount, place: FeedAuthority) -> RecordedChange:
        feed = self._feed(change)
        if feed.counts_available and (count.unavailable_total is not None or count.unavailable is not None):
            reason = f"{change.source} counts what is available, and so cannot say what is not; leave that out"
            return self._result(change, Assessment(ChangeResult.QUARANTINED, reason, cause=QuarantineCause.MEANING))
        said = Anchor(change.effective_time, self._on_hand_units(change, count), change.source, change.sequence)
        if abs(said.units) > limits.COUNTED_UNITS:
            return self._result(change, _over_limit())
        if place is not FeedAuthority.OWNS:
            return self._compare_count(change, count, said.units, place)
        level, basis = self.book.levels[change.key], self._basis(change)
        moved = self.history.moved_since(change.key, change.effective_time)
        found = assess_count(basis.anchor, said, on_hand=level.on_hand, moved_since=moved)
        if found.result is ChangeResult.ACCEPTED and not self._is_within_limit(change, found):
            found = _over_limit()
        if found.result is ChangeResult.QUARANTINED:
            return self._result(change, found)
        if change.movement is not None:
            found = self._record_movement_of_count(change, change.movement, found)
        self._add_movement(change, "counted", found, reported_count=count.units)
        if found.result is ChangeResult.ACCEPTED:
            self._adopt_count(change, count, said, expected=level.on_hand - moved)
        return self._result(change, found)

    def _on_hand_units(self, change: StockChange, count: ReportedCount) -> int:
        """The units on hand, good or not, that a count comes to by what its feed means."""
        feed, key, level = self._feed(change), change.key, self.book.levels[change.key]
        not_sellable = taken_off = 0
        if feed.counts_available:
            not_sellable = level.unavailable - self.history.unavailable_change_since(key, change.effective_time)
        if feed.is_net:
            until = count.orders_until or change.effective_time
            later = self.history.allocated.get((key, change.effective_time, until), ())
            taken_off = open_order_units(level.allocated, later)
        return on_hand_from_count(feed, count.units, unavailable=not_sellable, open_units=taken_off)

    def _record_movement_of_count(self, change: StockChange, move: ReportedMovement, found: Assessment) -> Assessment:
        """Books the movement that a count came with: it takes its part of the change that the count makes."""
        self._record_arrival(change, move)
        if found.result is not ChangeResult.ACCEPTED:
            self._add_movement(
                change, move.kind, Assessment(ChangeResult.ABSORBED), reported_count=move.units, change_id=None
            )
            return found
        effect = on_hand_effect(move.kind, move.units)
        self._add_movement(
            change, move.kind, Assessment(ChangeResult.ACCEPTED, "", effect), reported_count=move.units, change_id=None
        )
        return replace(found, on_hand_delta=found.on_hand_delta - effect)

    def _adopt_count(self, change: StockChange, count: ReportedCount, said: Anchor, *, expected: int) -> None:
        """Notes that the level rests on an accepted count from now on; `expected` was on the books for its time."""
        key, basis = change.key, self._basis(change)
        states_unavailable = count.unavailable_total is not None or count.unavailable is not None
        if states_unavailable:
            self._record_unavailable(change, count)
        if change.movement is not None:
            expected += on_hand_effect(change.movement.kind, change.movement.units)
        trusted = None
        if not count.computed and basis.anchor is not None and basis.anchor.time != said.time:
            evidence = confidence.count_accuracy(said.units, expected)
            trusted = confidence.updated_confidence(self.book.levels[key].count_confidence, evidence)
        since = self.untracked_since.get(key)
        tracked = True if since is not None and said.time >= since else None
        stated_time = change.effective_time if states_unavailable else None
        self.bases[key] = CountBasis(said, stated_time or basis.unavailable_time)
        self._update_figure(
            change,
            anchor=said,
            unavailable_time=stated_time,
            physical_count_time=None if count.computed else said.time,
            count_confidence=trusted,
            tracked=tracked,
        )

    def _record_unavailable(self, change: StockChange, count: ReportedCount) -> None:
        """Books what changes by reason, so that it is what was counted and what was set aside since."""
        since = self.history.made_unavailable_since(change.key, change.effective_time)
        units = self.unavailable.get(change.key, {})
        if count.unavailable is not None:
            stated = count.unavailable
            wanted = {r: max(0, stated.get(r, 0) + since.get(r, 0)) for r in unavailable.REASONS}
            changes = unavailable.changes_to_reasons(units, wanted)
        else:
            total = (count.unavailable_total or 0) + sum(since.values())
            changes = unavailable.changes_to_total(units, max(0, total))
        for reason, delta in changes.items():
            found = Assessment(ChangeResult.ACCEPTED, unavailable_delta=delta)
            self._add_movement(change, "counted", found, reason=reason, change_id=None)

    def _compare_count(
        self, change: StockChange, count: ReportedCount, claimed: int, place: FeedAuthority
    ) -> RecordedChange:
        """Compares a count with what is known at its time. A movement that came with it counts unless it observes."""
        found = Assessment(ChangeResult.OBSERVED)
        if change.movement is not None:
            if place is FeedAuthority.SECONDARY:
                found = assess_movement(
                    self._basis(change).anchor, change.effective_time, _effect_on_hand(change.movement)
                )
            if not self._is_within_limit(change, found):
                return self._result(change, _over_limit())
            self._add_movement(
                change, change.movement.kind, found, reported_count=change.movement.units, change_id=None
            )
            if found.result is not ChangeResult.OBSERVED:
                self._record_arrival(change, change.movement)
            if found.result is ChangeResult.ACCEPTED:
                self._update_figure(change)
        self._add_movement(change, "counted", Assessment(ChangeResult.OBSERVED), reported_count=count.units)
        if self._basis(change).anchor is None:
            return self._result(change, replace(found, reason=found.reason or "there is no count to compare it with"))
        level = self.book.levels[change.key]
        known = level.on_hand - self.history.on_hand_change_since(change.key, change.effective_time)
        mismatch = differs(self._feed(change), claimed, known)
        said = f"it says {unit_count_text(claimed)} where {known} are known; only the owner's counts move the figure"
        result = self._result(change, replace(found, reason=found.reason or said))
        return replace(result, difference=claimed - known, mismatch=mismatch)

    def _record_movement(self, change: StockChange, move: ReportedMovement, place: FeedAuthority) -> RecordedChange:
        basis, at = self._basis(change), change.effective_time
        if place is FeedAuthority.OBSERVES:
            found = Assessment(ChangeResult.OBSERVED, f"{change.source} only observes; nothing was moved")
        elif move.kind in SETTING_ASIDE_SIGNS:
            units = self.unavailable.get(change.key, {}).get(unavailable.reason_of(move.reason), 0)
            effect = unavailable_effect(move.kind, move.units)
            found = assess_setting_aside(basis.unavailable_time, at, effect, units)
        else:
            found = assess_movement(basis.anchor, at, _effect_on_hand(move))
        if not self._is_within_limit(change, found):
            found = _over_limit()
        if found.result is ChangeResult.QUARANTINED:
            return self._result(change, found)
        self._add_movement(change, move.kind, found, reported_count=move.units, reason=move.reason)
        if found.result is not ChangeResult.OBSERVED:
            self._record_arrival(change, move)
        if found.result is ChangeResult.ACCEPTED:
            self._update_figure(change)
        return self._result(change, found)

    def _record_incoming(self, change: StockChange, coming: ReportedIncoming, place: FeedAuthority) -> RecordedChange:
        found = Assessment(ChangeResult.ACCEPTED)
        if place is FeedAuthority.OBSERVES:
            found = Assessment(ChangeResult.OBSERVED, f"{change.source} only observes; nothing was announced")
        else:
            self.deliveries.append((change, coming))
        self._add_movement(change, "incoming", found, reported_count=coming.units)
        return self._result(change, found)

    def _record_untracked(self, change: StockChange, place: FeedAuthority) -> RecordedChange:
        said = Anchor(change.effective_time, 0, change.source, change.sequence)
        found = assess_untracked(self._basis(change).anchor, said)
        if place is not FeedAuthority.OWNS:
            found = Assessment(ChangeResult.OBSERVED, f"{change.source} does not own the figure; it stays tracked")
        self._add_movement(change, "untracked", found)
        if found.result is ChangeResult.ACCEPTED:
            since = self.untracked_since.get(change.key, change.effective_time)
            self.untracked_since[change.key] = max(since, change.effective_time)
            self._update_figure(change, tracked=False)
        return self._result(change, found)

    def _add_movement(
        self,
        change: StockChange,
        kind: str,
        found: Assessment,
        *,
        reported_count: int | None = None,
        reason: str | None = None,
        change_id: str | None = "",
    ) -> None:
        """Moves the figures and keeps the movement. One movement of each change has its id, so that it counts once."""
        movement = Movement(
            id=self.book.new_id(),
            sku=change.sku,
            location_id=change.location_id,
            kind=kind,
            on_hand=found.on_hand_delta,
            unavailable=found.unavailable_delta,
            held=0,
            allocated=0,
            source=change.source,
            effective_time=change.effective_time,
            result=found.result,
            reported_count=reported_count,
            change_id=change.change_id if change_id == "" else None,
            reason=reason,
        )
        self.book.apply(movement)
        self.history.add(movement)
        if movement.unavailable:
            units, why = self.unavailable.setdefault(change.key, {}), unavailable.reason_of(reason)
            units[why] = units.get(why, 0) + movement.unavailable

    def _update_figure(
        self,
        change: StockChange,
        *,
        anchor: Anchor | None = None,
        unavailable_time: datetime | None = None,
        physical_count_time: datetime | None = None,
        count_confidence: float | None = None,
        tracked: bool | None = None,
    ) -> None:
        key, level = change.key, self.book.levels[change.key]
        # That a source no longer tracks a figure does not make the figure any younger.
        at = change.effective_time if tracked is not False else level.as_of_time or change.effective_time
        before = self.figures.get(key) or ReportedFigure(*key, at, change.source)
        looked = [time for time in (before.physical_count_time, physical_count_time) if time is not None]
        self.figures[key] = ReportedFigure(
            *key,
            max(at, before.as_of_time),
            change.source,
            anchor or before.anchor,
            unavailable_time or before.unavailable_time,
            max(looked, default=None),
            before.count_confidence if count_confidence is None else count_confidence,
            before.tracked if tracked is None else tracked,
        )
        self.book.levels[key] = replace(
            level,
            as_of_time=max(level.as_of_time or at, at),
            counted_time=anchor.time if anchor else level.counted_time,
            count_confidence=level.count_confidence if count_confidence is None else count_confidence,
            source=change.source,
            tracked=level.tracked if tracked is None else tracked,
            physical_count_time=max((t for t in (level.physical_count_time, *looked) if t is not None), default=None),
        )

    def _record_arrival(self, change: StockChange, move: ReportedMovement) -> None:
        if move.incoming_reference:
            self.deliveries.append(DeliveryArrival(change, move.incoming_reference, move.units))

    def _is_within_limit(self, change: StockChange, found: Assessment) -> bool:
        """Whether the figures stay within what any shop can have."""
        level = self.book.levels[change.key]
        figures = (level.on_hand + found.on_hand_delta, level.unavailable + found.unavailable_delta)
        return all(abs(figure) <= limits.COUNTED_UNITS for figure in figures)

    def _feed(self, change: StockChange) -> Feed:
        return self.feeds.get(change.source) or Feed(change.source)

    def _basis(self, change: StockChange) -> CountBasis:
        return self.bases.get(change.key, NO_BASIS)

    def _result(self, change: StockChange, found: Assessment) -> RecordedChange:
        return RecordedChange(change, found.result, found.reason, self.book.levels[change.key].on_hand, found.cause)


def _effect_on_hand(move: ReportedMovement) -> int:
    return on_hand_effect(move.kind, move.units)


def _over_limit() -> Assessment:
    reason = f"it would take the figure past {limits.COUNTED_UNITS:,} units; check the number"
    return Assessment(ChangeResult.QUARANTINED, reason, cause=QuarantineCause.TOO_MANY)
