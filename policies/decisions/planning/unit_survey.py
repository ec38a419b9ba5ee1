"""What one order may use at the locations that it asks, location by location, and why it gets nothing at others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from policies.decisions.availability.location_availability import LocationAvailability
from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.planning.planning_memory import PolicyView
from policies.decisions.planning.product_stock import Assessments, ProductStock
from policies.explanation import DroppedLocation, DropReason, FiredRule


@dataclass(slots=True)
class UnitSurvey:
    """Units, dropped locations and fired rules collected from the locations visited so far."""

    view: PolicyView
    skus: tuple[str, ...]
    waived: frozenset[str]
    units: dict[str, dict[str, int]] = field(init=False)
    promised_units: dict[str, int] = field(default_factory=dict)
    kept_units: dict[str, int] = field(default_factory=dict)
    rejected_units: dict[str, int] = field(default_factory=dict)
    """Units that the order does not get at locations that rejected it or are too late; others may, so they cover a
    channel buffer."""
    late_units: dict[str, int] = field(default_factory=dict)
    """Of these, those at locations that are too late."""
    dropped: list[DroppedLocation] = field(default_factory=list)
    fired: list[FiredRule] = field(default_factory=list)
    _stocks: list[tuple[str, ProductStock, Assessments]] = field(init=False)
    """The SKUs with their stock, and what rules leave of it."""
    _claimed: frozenset[tuple[str, str]] = field(init=False)
    """The (sku, location id) where the order has units already, or was rejected."""
    _used: list[int] = field(default_factory=list)
    """The numbers of the locations visited of which the policy uses the stock."""

    def __post_init__(self) -> None:
        self.units = {sku: {} for sku in self.skus}
        stocks = [(sku, self.view.stock(sku)) for sku in self.skus]
        self._stocks = [(sku, stock, stock.assessments(self.waived)) for sku, stock in stocks]
        question = self.view.question
        self._claimed = frozenset([*question.own_units, *question.kept_units, *question.rejected_by])

    def visit_all(self) -> None:
        """As `visit` of each location in turn, with little more than a look at most of them.

        No rule says anything of most levels, so that the order may use all units there.
        """
        view, pause = self.view, self.view.question.world.pause
        numbers = range(len(view.memory.locations))
        if "buffer" not in self.waived:
            # Most stores hold units back, so rules say something of most levels, and sorting them out takes longer.
            for number in numbers:
                pause()
                self.visit(number)
            return
        stocked = set[int]().union(*[stock.stocked for _, stock, _ in self._stocks])
        drops, late = view.eligibility.drops, view.late
        used = [number for number in numbers if number in stocked and drops[number] is None]
        special = {*numbers}.difference(used)
        if late is not None:
            special.update([number for number in used if late[number] is not None])
        special.update([view.memory.numbers[key] for _, key in self._claimed if key in view.memory.numbers])
        for _, stock, assessments in self._stocks:
            special.update(assessments.limited(stock.stocked.intersection(used)))
        for number in sorted(special):
            pause()
            self.visit(number)
        ids = view.memory.numbers
        for sku, stock, _ in self._stocks:
            pause()
            supplied = self.units[sku]
            counts = [*stock.available]
            for number in special:
                counts[number] = supplied.get(view.memory.locations[number].id, 0)
            self.units[sku] = {key: count for key, count in zip(ids, counts, strict=True) if count > 0}
        self._used = used

    def visit(self, number: int) -> None:
        """Adds what the order may use at a location, which must not be visited twice."""
        stocked = [stock for stock in self._stocks if stock[1].available[number] > 0]
        # Most locations of a large chain stock none of an order's products, so no rules are evaluated for them.
        if not stocked:
            self.dropped.append(self.view.memory.without_stock[number])
            return
        eligibility = self.view.eligibility
        dropped = eligibility.drops[number]
        if dropped is not None:
            self.dropped.append(dropped)
            self.fired += eligibility.exclude_rules[number]
            return
        self._used.append(number)
        late = self.view.late[number] if self.view.late is not None else None
        claimed = self._claimed
        for sku, _, assessments in stocked:
            figure = assessments.figures[number]
            if figure.fired:
                self.fired += figure.fired
            if late is not None:
                self._add_claimed(figure, number, assessments, late)
            elif claimed and (sku, figure.location_id) in claimed:
                self._add_claimed(figure, number, assessments)
            elif figure.sellable:
                self.units[sku][figure.location_id] = figure.sellable
            else:
                self.dropped.append(assessments.drops[number])

    def figures(self, sku: str) -> list[LocationAvailability]:
        """The figures of the product's levels that the order was offered, in the order of the locations."""
        late, figures = self.view.late, list[LocationAvailability]()
        for known_sku, stock, assessments in self._stocks:
            for number in self._used if known_sku == sku else ():
                if stock.available[number] > 0:
                    figure, reason = assessments.figures[number], None if late is None else late[number]
                    figures.append(figure if reason is None else replace(figure, not_used_by=reason))
        return figures

    def _add_claimed(
        self, figure: LocationAvailability, number: int, assessments: Assessments, late: DroppedLocation | None = None
    ) -> None:
        """Adds the units of a level of which the order has some already, that rejected it, or that is too `late`."""
        sku = figure.sku
        key, is_late = (sku, figure.location_id), late is not None
        claim = claimable(self.view.question, key, figure.available, figure.sellable, is_late=is_late)
        self.promised_units[sku] = self.promised_units.get(sku, 0) + claim.own_units
        self.kept_units[sku] = self.kept_units.get(sku, 0) + claim.kept_units
        if claim.is_rejected:
            unused = max(0, figure.sellable - claim.kept_units - claim.own_units)
            self.rejected_units[sku] = self.rejected_units.get(sku, 0) + unused
            if late is not None:
                self.late_units[sku] = self.late_units.get(sku, 0) + unused
        if claim.count:
            self.units[sku][figure.location_id] = claim.count
        elif late is not None and figure.sellable:
            self.dropped.append(
                DroppedLocation(figure.location_id, sku, late.reason, late.rule, late.source, late.evidence)
            )
        elif claim.is_rejected and late is None:
            self.dropped.append(DroppedLocation(figure.location_id, sku, DropReason.REJECTED))
        else:
            self.dropped.append(assessments.drops[number])


@dataclass(slots=True, unsafe_hash=True)
class Claim:
    """What an order may use of one level: `count` units, besides those that it keeps there."""

    count: Final[int]
    own_units: Final[int]
    kept_units: Final[int]
    is_rejected: Final[bool]


def claimable(
    question: RoutingQuestion, key: tuple[str, str], available: int, sellable: int, *, is_late: bool = False
) -> Claim:
    """What the order may use of the level of a (sku, location id) if rules leave `sellable` units of it.

    Its own units are there despite them.

    A location that is too late for new units keeps those that it has promised, like one that rejected others.
    """
    kept_units = min(question.kept_units.get(key, 0), available)
    own_units = min(question.own_units.get(key, 0), available - kept_units)
    is_rejected = is_late or key in question.rejected_by
    return Claim(
        own_units if is_rejected else max(sellable - kept_units, own_units), own_units, kept_units, is_rejected
    )
