"""Records the stock changes of one transaction in its book, one after another. Nothing here touches the database.

`policies.stock.counting` and `.feeds` decide; this module gives them the current stock and applies their decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from policies.domain.model import StockLevel
from policies.stock import unavailable
from policies.stock.confidence import LastCount, moves_goods
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
from service.stock import count_learning
from service.stock.count_learning import LocationHistories
from service.stock.provenance import CountBasis, PhysicalCount, ReportedFigure
from service.stock.stock_book import Book, Key, Movement
from service.stock.stock_history import History

NO_BASIS = CountBasis(None, None)
_LARGEST_CORRECTION = 2 * limits.COUNTED_UNITS
"""From the lowest figure to the highest; a count that also explains away a movement may need more than an integer."""


@dataclass(frozen=True, slots=True)
class RecordedChange:
    """The result of one change; `on_hand` is the figure after the change, None if there is none.

    `cause` is set for quarantined changes. `difference` is observed units minus on hand at the time of the observation,
    None if nothing was compared; `mismatch` says that it exceeds the tolerance of the feed.
    """

    change: StockChange
    result: ChangeResult
    reason: str = ""
    on_hand: int | None = None
    cause: QuarantineCause | None = None
    difference: int | None = None
    mismatch: bool = False
    before: StockLevel | None = None
    """The level before a change by hand; None for any other."""


@dataclass(frozen=True, slots=True)
class DeliveryArrival:
    """Received units of a delivery, to be subtracted from its incoming units."""

    change: StockChange
    reference: str
    units: int


@dataclass(slots=True)
class ChangeRecorder:
    """The state of one transaction: the book, the counts behind its levels, and the changes recorded so far."""

    book: Book
    feeds: Mapping[str, Feed]
    bases: dict[Key, CountBasis]
    history: History
    unavailable: dict[Key, dict[str, int]]
    """Unavailable units by reason."""
    untracked_since: dict[Key, datetime]
    recorded_ids: set[tuple[str, str]]
    """(source, change id) of changes recorded before."""
    locations: LocationHistories
    figures: dict[Key, ReportedFigure] = field(default_factory=dict)
    deliveries: list[DeliveryArrival | tuple[StockChange, ReportedIncoming]] = field(default_factory=list)
    """Arrivals and announcements of deliveries, in order of recording."""

    def record(self, change: StockChange, unmapped: str) -> RecordedChange:
        """Records a change or returns why not; `unmapped` says which product or location the catalog lacks."""
        if unmapped:
            return RecordedChange(change, ChangeResult.QUARANTINED, unmapped, cause=QuarantineCause.UNMAPPED)
        if (change.source, change.change_id) in self.recorded_ids:
            return self._result(
                change, Assessment(ChangeResult.DUPLICATE, f"{change.source} sent this change_id before")
            )
        if change.effective_time > self.book.now + limits.CLOCK_SKEW:
            reason = "effective_time is more than 5 minutes in the future; the change is recorded at that time"
            return self._result(change, Assessment(ChangeResult.QUARANTINED, reason, cause=QuarantineCause.AHEAD))
        if change.largest_count > limits.COUNTED_UNITS:
            # No count of a SKU is as large, but items of many units each may be.
            return self._result(change, _over_limit())
        before = self.book.levels[change.key] if change.is_by_hand(self._feed(change)) else None
        result = self._record_by_type(change, feed_authority(self.feeds, change.source, *change.key))
        if before is not None:
            result = replace(result, before=before)
        if result.result is not ChangeResult.QUARANTINED:
            self.recorded_ids.add((change.source, change.change_id))
        return result

    def _record_by_type(self, change: StockChange, authority: FeedAuthority) -> RecordedChange:
        if change.count is not None:
            return self._record_count(change, change.count, authority)
        if change.movement is not None:
            return self._record_movement(change, change.movement, authority)
        if change.incoming is not None:
            return self._record_incoming(change, change.incoming, authority)
        return self._record_untracked(change, authority)

    def _record_count(self, change: StockChange, count: ReportedCount, authority: FeedAuthority) -> RecordedChange:
        feed = self._feed(change)
        if feed.counts_available and (count.unavailable_total is not None or count.unavailable is not None):
            reason = f"{change.source} counts available units and cannot state unavailable units; omit them"
            return self._result(change, Assessment(ChangeResult.QUARANTINED, reason, cause=QuarantineCause.MEANING))
        anchor = Anchor(change.effective_time, self._on_hand_units(change, count), change.source, change.sequence)
        if abs(anchor.units) > limits.COUNTED_UNITS:
            return self._result(change, _over_limit())
        if authority is not FeedAuthority.OWNS:
            return self._compare_count(change, count, anchor.units, authority)
        level, basis = self.book.levels[change.key], self._basis(change)
        moved_units = self.history.moved_since(change.key, change.effective_time)
        assessment = assess_count(basis.anchor, anchor, on_hand=level.on_hand, moved_since=moved_units)
        if assessment.result is ChangeResult.ACCEPTED:
            moved_with_count = 0 if change.movement is None else _effect_on_hand(change.movement)
            is_recordable = abs(assessment.on_hand_delta - moved_with_count) <= _LARGEST_CORRECTION
            if not (is_recordable and self._is_within_limit(change, assessment)):
                assessment = _over_limit()
        if assessment.result is ChangeResult.QUARANTINED:
            return self._result(change, assessment)
        if change.movement is not None:
            assessment = self._record_movement_of_count(change, change.movement, assessment)
        self._add_movement(change, "counted", assessment, reported_count=count.units)
        if assessment.result is ChangeResult.ACCEPTED:
            self._adopt_count(change, count, anchor, expected=level.on_hand - moved_units)
        return self._result(change, assessment)

    def _on_hand_units(self, change: StockChange, count: ReportedCount) -> int:
        """The units on hand, sellable or not, that a count states given the basis of its feed."""
        feed, key, level = self._feed(change), change.key, self.book.levels[change.key]
        unavailable_units = open_units = 0
        if feed.counts_available:
            unavailable_units = level.unavailable - self.history.unavailable_change_since(key, change.effective_time)
        if feed.is_net:
            until = count.orders_until or change.effective_time
            later = self.history.allocated.get((key, change.effective_time, until), ())
            open_units = open_order_units(level.allocated, later)
        return on_hand_from_count(feed, count.units, unavailable=unavailable_units, open_units=open_units)

    def _record_movement_of_count(
        self, change: StockChange, movement: ReportedMovement, assessment: Assessment
    ) -> Assessment:
        """Records the movement reported with a count; its units are subtracted from the change that the count makes."""
        self._record_arrival(change, movement)
        if assessment.result is not ChangeResult.ACCEPTED:
            self._add_movement(
                change, movement.kind, Assessment(ChangeResult.ABSORBED), reported_count=movement.units, change_id=None
            )
            return assessment
        effect = on_hand_effect(movement.kind, movement.units)
        self._add_movement(
            change,
            movement.kind,
            Assessment(ChangeResult.ACCEPTED, "", effect),
            reported_count=movement.units,
            change_id=None,
        )
        return replace(assessment, on_hand_delta=assessment.on_hand_delta - effect)

    def _adopt_count(self, change: StockChange, count: ReportedCount, anchor: Anchor, *, expected: int) -> None:
        """Makes an accepted count the basis of its level; `expected` is on hand at its time before the count."""
        key, basis = change.key, self._basis(change)
        states_unavailable = count.unavailable_total is not None or count.unavailable is not None
        if states_unavailable:
            self._record_unavailable(change, count)
        if change.movement is not None:
            expected += on_hand_effect(change.movement.kind, change.movement.units)
        computed = self._feed(change).computed if count.computed is None else count.computed
        physical_count = None
        if not computed:
            counted = LastCount(anchor.time, self.history.movements_since(key, anchor.time))
            physical_count = count_learning.after_count(
                basis.physical, counted, change.location_id, self.locations, is_error=anchor.units != expected
            )
        untracked_since = self.untracked_since.get(key)
        tracked = True if untracked_since is not None and anchor.time >= untracked_since else None
        stated_time = change.effective_time if states_unavailable else None
        self.bases[key] = replace(
            basis,
            anchor=anchor,
            unavailable_time=stated_time or basis.unavailable_time,
            physical=physical_count or basis.physical,
        )
        self._update_figure(
            change,
            anchor=anchor,
            unavailable_time=stated_time,
            physical_count=physical_count,
            tracked=tracked,
        )

    def _record_unavailable(self, change: StockChange, count: ReportedCount) -> None:
        """Sets unavailable units by reason to the counted units plus those set aside since the count."""
        set_aside = self.history.made_unavailable_since(change.key, change.effective_time)
        units = self.unavailable.get(change.key, {})
        if count.unavailable is not None:
            counted = count.unavailable
            units_by_reason = {r: max(0, counted.get(r, 0) + set_aside.get(r, 0)) for r in unavailable.REASONS}
            changes = unavailable.changes_to_reasons(units, units_by_reason)
        else:
            total = (count.unavailable_total or 0) + sum(set_aside.values())
            changes = unavailable.changes_to_total(units, max(0, total))
        for reason, delta in changes.items():
            assessment = Assessment(ChangeResult.ACCEPTED, unavailable_delta=delta)
            self._add_movement(change, "counted", assessment, reason=reason, change_id=None)

    def _compare_count(
        self, change: StockChange, count: ReportedCount, counted_units: int, authority: FeedAuthority
    ) -> RecordedChange:
        """Compares a count with on hand at its time. Its movement is recorded unless the feed is an observer."""
        assessment = Assessment(ChangeResult.OBSERVED)
        if change.movement is not None:
            if authority is FeedAuthority.SECONDARY:
                assessment = assess_movement(
                    self._basis(change).anchor, change.effective_time, _effect_on_hand(change.movement)
                )
            if not self._is_within_limit(change, assessment):
                return self._result(change, _over_limit())
            self._add_movement(
                change, change.movement.kind, assessment, reported_count=change.movement.units, change_id=None
            )
            if assessment.result is not ChangeResult.OBSERVED:
                self._record_arrival(change, change.movement)
            if assessment.result is ChangeResult.ACCEPTED:
                self._update_figure(change)
        self._add_movement(change, "counted", Assessment(ChangeResult.OBSERVED), reported_count=count.units)
        if self._basis(change).anchor is None:
            return self._result(
                change, replace(assessment, reason=assessment.reason or "no accepted count to compare it with")
            )
        level = self.book.levels[change.key]
        on_hand = level.on_hand - self.history.on_hand_change_since(change.key, change.effective_time)
        mismatch = differs(self._feed(change), counted_units, on_hand)
        reason = f"counted {counted_units} where {on_hand} are on hand; only counts of the owning feed change stock"
        result = self._result(change, replace(assessment, reason=assessment.reason or reason))
        return replace(result, difference=counted_units - on_hand, mismatch=mismatch)

    def _record_movement(
        self, change: StockChange, movement: ReportedMovement, authority: FeedAuthority
    ) -> RecordedChange:
        basis, effective_time = self._basis(change), change.effective_time
        if authority is FeedAuthority.OBSERVES:
            assessment = Assessment(ChangeResult.OBSERVED, f"{change.source} is an observer; stock was not changed")
        elif movement.kind in SETTING_ASIDE_SIGNS:
            units = self.unavailable.get(change.key, {}).get(unavailable.reason_of(movement.reason), 0)
            effect = unavailable_effect(movement.kind, movement.units)
            assessment = assess_setting_aside(basis.unavailable_time, effective_time, effect, units)
        else:
            assessment = assess_movement(basis.anchor, effective_time, _effect_on_hand(movement))
        if not self._is_within_limit(change, assessment):
            assessment = _over_limit()
        if assessment.result is ChangeResult.QUARANTINED:
            return self._result(change, assessment)
        self._add_movement(change, movement.kind, assessment, reported_count=movement.units, reason=movement.reason)
        if assessment.result is not ChangeResult.OBSERVED:
            self._record_arrival(change, movement)
        if assessment.result is ChangeResult.ACCEPTED:
            self._update_figure(change)
        return self._result(change, assessment)

    def _record_incoming(
        self, change: StockChange, incoming: ReportedIncoming, authority: FeedAuthority
    ) -> RecordedChange:
        assessment = Assessment(ChangeResult.ACCEPTED)
        if authority is FeedAuthority.OBSERVES:
            assessment = Assessment(
                ChangeResult.OBSERVED, f"{change.source} is an observer; incoming units were not changed"
            )
        else:
            self.deliveries.append((change, incoming))
        self._add_movement(change, "incoming", assessment, reported_count=incoming.units)
        return self._result(change, assessment)

    def _record_untracked(self, change: StockChange, authority: FeedAuthority) -> RecordedChange:
        anchor = Anchor(change.effective_time, 0, change.source, change.sequence)
        assessment = assess_untracked(self._basis(change).anchor, anchor)
        if authority is not FeedAuthority.OWNS:
            assessment = Assessment(
                ChangeResult.OBSERVED, f"{change.source} does not own this stock level; it stays tracked"
            )
        self._add_movement(change, "untracked", assessment)
        if assessment.result is ChangeResult.ACCEPTED:
            untracked_since = self.untracked_since.get(change.key, change.effective_time)
            self.untracked_since[change.key] = max(untracked_since, change.effective_time)
            self._update_figure(change, tracked=False)
        return self._result(change, assessment)

    def _add_movement(
        self,
        change: StockChange,
        kind: str,
        assessment: Assessment,
        *,
        reported_count: int | None = None,
        reason: str | None = None,
        change_id: str | None = "",
    ) -> None:
        """Applies a movement to the level. One movement of each change carries its id, so a change counts once."""
        movement = Movement(
            id=self.book.new_id(),
            sku=change.sku,
            location_id=change.location_id,
            kind=kind,
            on_hand=assessment.on_hand_delta,
            unavailable=assessment.unavailable_delta,
            held=0,
            allocated=0,
            source=change.source,
            effective_time=change.effective_time,
            result=assessment.result,
            reported_count=reported_count,
            change_id=change.change_id if change_id == "" else None,
            reason=reason,
        )
        self.book.apply(movement)
        self.history.add(movement)
        if moves_goods(kind, movement.on_hand):
            self._add_movement_of_goods(change)
        if movement.unavailable:
            units, stored_reason = self.unavailable.setdefault(change.key, {}), unavailable.reason_of(reason)
            units[stored_reason] = units.get(stored_reason, 0) + movement.unavailable

    def _add_movement_of_goods(self, change: StockChange) -> None:
        """Counts a movement since the level's last count by a person; a count in this transaction writes the number."""
        basis, figure = self._basis(change), self.figures.get(change.key)
        last = basis.physical.last
        physical = replace(basis.physical, last=last._replace(movements=last.movements + 1))
        self.bases[change.key] = replace(basis, physical=physical)
        if figure is not None and figure.physical_count is not None:
            self.figures[change.key] = replace(figure, physical_count=physical)

    def _update_figure(
        self,
        change: StockChange,
        *,
        anchor: Anchor | None = None,
        unavailable_time: datetime | None = None,
        physical_count: PhysicalCount | None = None,
        tracked: bool | None = None,
    ) -> None:
        key, level = change.key, self.book.levels[change.key]
        # A source that stops tracking a level has not measured it, so the figure keeps its age.
        as_of_time = change.effective_time if tracked is not False else level.as_of_time or change.effective_time
        before = self.figures.get(key) or ReportedFigure(*key, as_of_time, change.source)
        self.figures[key] = ReportedFigure(
            *key,
            max(as_of_time, before.as_of_time),
            change.source,
            anchor or before.anchor,
            unavailable_time or before.unavailable_time,
            physical_count or before.physical_count,
            before.tracked if tracked is None else tracked,
        )
        level = replace(
            level,
            as_of_time=max(level.as_of_time or as_of_time, as_of_time),
            counted_time=anchor.time if anchor else level.counted_time,
            source=change.source,
            tracked=level.tracked if tracked is None else tracked,
        )
        if physical_count is not None:
            confidence = count_learning.confidence(physical_count, change.location_id, self.locations, self.book.now)
            physical_time = physical_count.last.time
            level = replace(level, physical_count_time=physical_time, count_confidence=confidence)
        self.book.levels[key] = level

    def _record_arrival(self, change: StockChange, movement: ReportedMovement) -> None:
        if movement.incoming_reference:
            self.deliveries.append(DeliveryArrival(change, movement.incoming_reference, movement.units))

    def _is_within_limit(self, change: StockChange, assessment: Assessment) -> bool:
        """Whether the figures stay within the limit of COUNTED_UNITS."""
        level = self.book.levels[change.key]
        figures = (level.on_hand + assessment.on_hand_delta, level.unavailable + assessment.unavailable_delta)
        return all(abs(figure) <= limits.COUNTED_UNITS for figure in figures)

    def _feed(self, change: StockChange) -> Feed:
        return self.feeds.get(change.source) or Feed(change.source)

    def _basis(self, change: StockChange) -> CountBasis:
        return self.bases.get(change.key, NO_BASIS)

    def _result(self, change: StockChange, assessment: Assessment) -> RecordedChange:
        return RecordedChange(
            change, assessment.result, assessment.reason, self.book.levels[change.key].on_hand, assessment.cause
        )


def _effect_on_hand(movement: ReportedMovement) -> int:
    return on_hand_effect(movement.kind, movement.units)


def _over_limit() -> Assessment:
    reason = f"stock, or its change, would exceed {limits.COUNTED_UNITS:,} units; check the number"
    return Assessment(ChangeResult.QUARANTINED, reason, cause=QuarantineCause.TOO_MANY)
