"""Plans for the parts of an order: each becomes demand of its own, counted in units of whole sets.

Where no two parts want the same product, that is all: locations are chosen as for an order that is planned by SKU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf

from policies.decisions.parts.assignment import SetDemand, SharedStock
from policies.decisions.parts.shared_stock import Candidates, best_shared_plan
from policies.decisions.planning.plan_steps import ShippingEstimate
from policies.decisions.planning.plans import NO_ESTIMATES, Load, Plan, best_plan
from policies.decisions.planning.ranking import Ranks
from policies.decisions.planning.sets.candidate_stock import NO_WEIGHTS, Weight
from policies.domain.demand import DemandPart
from policies.domain.model import Order, go_on


@dataclass(frozen=True, slots=True)
class PartDemand:
    """The parts of an order with the stock that each may use, in units of whole sets, by its key.

    `stock` is by SKU and location id, `limits` are the most units of a SKU together. Both also have the kits that rules
    of the kits' own allow, by the SKUs of the kits.
    """

    parts: Mapping[str, DemandPart]
    stock: Mapping[str, Mapping[str, int]]
    limits: Mapping[str, int]
    units: Mapping[str, int]
    part_stock: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(
        cls, parts: Sequence[DemandPart], stock: Mapping[str, Mapping[str, int]], limits: Mapping[str, int]
    ) -> PartDemand:
        """The demand of these parts."""
        by_key = {str(number): part for number, part in enumerate(parts)}
        units = {key: part.set_size * _sets_within(part, limits) for key, part in by_key.items()}
        part_stock = {key: _stock_of(part, stock) for key, part in by_key.items()}
        return cls(by_key, stock, limits, units, part_stock)

    @property
    def shares_products(self) -> bool:
        """Whether two parts want the same product."""
        return max(Counter(sku for part in self.parts.values() for sku in part.needs).values()) > 1

    def full_stock(self) -> dict[str, dict[str, int]]:
        """The stock, by SKU and location id, of locations that may ship all lines of the SKU."""
        placements: dict[str, list[DemandPart]] = {}
        for part in self.parts.values():
            for sku in part.units:
                placements.setdefault(sku, []).append(part)
        return {
            sku: {
                location_id: count
                for location_id, count in self.stock.get(sku, {}).items()
                if all(part.placement.allows(location_id) for part in parts)
            }
            for sku, parts in placements.items()
        }

    def plan(
        self,
        demand: Mapping[str, int],
        *,
        ranks: Mapping[str, Ranks],
        steps: Sequence[str] = (),
        max_shipments: int | None = None,
        estimates: Mapping[str, ShippingEstimate] = NO_ESTIMATES,
        weights: Mapping[str, Weight] = NO_WEIGHTS,
        pause: Callable[[], None] = go_on,
    ) -> Plan:
        """The best plan of this demand, which is `units` or what is left of it; by part, as `best_plan` is by SKU.

        `weights` are by SKU.
        """
        by_part = {key: _weight_of(part, weights) for key, part in self.parts.items()} if weights else NO_WEIGHTS
        if not self.shares_products:
            return best_plan(
                demand,
                self.part_stock,
                ranks,
                steps=steps,
                max_shipments=max_shipments,
                estimates=estimates,
                weights=by_part,
                pause=pause,
            )
        candidates = self._candidates(demand, ranks, pause)
        return best_shared_plan(
            candidates, steps=steps, max_shipments=max_shipments, estimates=estimates, weights=by_part, pause=pause
        )

    def _candidates(
        self, demand: Mapping[str, int], ranks: Mapping[str, Ranks], pause: Callable[[], None]
    ) -> Candidates:
        wanted = {key: count // self.parts[key].set_size for key, count in demand.items() if count}
        skus = list(dict.fromkeys(sku for key in wanted for sku in self.parts[key].needs))
        ids = []
        for key in sorted(ranks, key=lambda key: (ranks[key], key)):
            if any(self.part_stock[part].get(key) for part in wanted):
                ids.append(key)
            pause()
        stock = SharedStock(
            parts=tuple(
                SetDemand(
                    count,
                    tuple((skus.index(sku), units) for sku, units in self.parts[key].needs.items()),
                    self.parts[key].set_size,
                )
                for key, count in wanted.items()
            ),
            holdings=tuple(tuple([self.stock.get(sku, {}).get(key, 0) for sku in skus]) for key in ids),
            allowed=tuple(
                frozenset(number for number, key in enumerate(ids) if self.part_stock[part].get(key)) for part in wanted
            ),
            limits=tuple(self._limits_left(demand, skus)),
            uncounted=frozenset(skus.index(sku) for key in wanted for sku in self.parts[key].kits),
        )
        return Candidates(tuple(wanted), tuple(ids), tuple([ranks[key] for key in ids]), stock)

    def _limits_left(self, demand: Mapping[str, int], skus: Iterable[str]) -> list[int]:
        """The most units of each SKU that may be placed besides those that the demand leaves out."""
        left = []
        for sku in skus:
            wanted = placed = 0
            for key, part in self.parts.items():
                size = part.needs.get(sku, 0)
                wanted += size * demand.get(key, 0) // part.set_size
                placed += size * (self.units[key] - demand.get(key, 0)) // part.set_size
            left.append(min(wanted, self.limits.get(sku, wanted + placed) - placed))
        return left

    def by_line(self, plan: Plan, order: Order) -> Plan:
        """The plan of the parts by SKU, with the units of each line of the order."""
        placed = dict.fromkeys(self.parts, 0)
        loads = []
        for load in plan.loads:
            counts: dict[str, int] = {}
            for key, units in load.units.items():
                part = self.parts[key]
                sets = units // part.set_size
                for line, count in part.line_units(placed[key], sets):
                    counts[line.line_id] = counts.get(line.line_id, 0) + count
                placed[key] += sets
            loads.append(_load(load, counts, order))
        return replace(plan, loads=tuple(loads))


def _load(load: Load, counts: Mapping[str, int], order: Order) -> Load:
    lines = {line.line_id: counts[line.line_id] for line in order.lines if line.line_id in counts}
    units: dict[str, int] = {}
    for line in order.lines:
        if line.line_id in counts:
            units[line.sku] = units.get(line.sku, 0) + counts[line.line_id]
    return Load(load.location_id, units, lines)


def _weight_of(part: DemandPart, weights: Mapping[str, Weight]) -> Weight:
    """The weight of a unit of the part: a share of that of a whole set, in which the part is shipped."""
    grams = [weights[sku] * count for sku, count in part.units.items()]
    return inf if inf in grams else sum((Fraction(each) for each in grams), Fraction(0)) / part.set_size


def _sets_within(part: DemandPart, limits: Mapping[str, int]) -> int:
    within = [limits[sku] // units for sku, units in part.needs.items() if sku in limits]
    return max(0, min([part.set_count, *within]))


def _stock_of(part: DemandPart, stock: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Units of whole sets that each permitted location can supply, by location id; none of them 0."""
    per_sku = [(stock.get(sku, {}), units) for sku, units in part.needs.items()]
    smallest, _ = min(per_sku, key=lambda entry: len(entry[0]))
    found = {}
    for location_id in smallest:
        sets = min(units.get(location_id, 0) // size for units, size in per_sku)
        if sets and part.placement.allows(location_id):
            found[location_id] = sets * part.set_size
    return found
