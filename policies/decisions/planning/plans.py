"""Which locations ship which units: filled in rank order, or by a search for the best set if a step compares sets.

Sets are compared by units covered, then by the steps of `rank` in order (`plan_steps`), then by location ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from policies.decisions.planning.plan_steps import UNKNOWN_ESTIMATE, ShippingEstimate
from policies.decisions.planning.ranking import Ranks
from policies.decisions.planning.sets.branch_search import BranchSearch
from policies.decisions.planning.sets.candidate_stock import NO_WEIGHTS, CandidateStock, Weight
from policies.decisions.planning.sets.set_search import SetSearch
from policies.domain.model import go_on
from policies.policy_set import FEWEST_SHIPMENTS, PLAN_STEPS

_FEW_PRODUCTS = 3
"""So few products are most often searched in rank order before the tables of a search by size are made."""

_FEW_LOOKUPS = 10_000

NO_ESTIMATES: Mapping[str, ShippingEstimate] = {}


@dataclass(slots=True, unsafe_hash=True)
class Load:
    """Units of each SKU that one location ships; `lines` are those of each line, if they are not in line order."""

    location_id: Final[str]
    units: Final[Mapping[str, int]]
    lines: Final[Mapping[str, int]] = field(default_factory=dict)


@dataclass(slots=True, unsafe_hash=True)
class Plan:
    """The loads in fill order, best-ranked location first; none is empty.

    If the search was not exhaustive, no plan of as many units has fewer than `fewest_shipments`.
    """

    loads: Final[tuple[Load, ...]] = ()
    searched_exhaustively: Final[bool] = True
    fewest_shipments: Final[int] = 0

    def placed(self, sku: str) -> int:
        """Units of the product in all loads together."""
        return sum(load.units.get(sku, 0) for load in self.loads)

    def joined_by(self, added: Plan) -> Plan:
        """Both plans as one."""
        is_best = self.searched_exhaustively and added.searched_exhaustively
        fewest = 0 if is_best else self._fewest_shipments_bound + added._fewest_shipments_bound
        return Plan(self.loads + added.loads, is_best, fewest)

    @property
    def _fewest_shipments_bound(self) -> int:
        return len(self.loads) if self.searched_exhaustively else self.fewest_shipments


def best_plan(
    demand: Mapping[str, int],
    stock: Mapping[str, Mapping[str, int]],
    ranks: Mapping[str, Ranks],
    *,
    steps: Sequence[str] = (),
    max_shipments: int | None = None,
    estimates: Mapping[str, ShippingEstimate] = NO_ESTIMATES,
    weights: Mapping[str, Weight] = NO_WEIGHTS,
    pause: Callable[[], None] = go_on,
) -> Plan:
    """The plan that covers most of the demand within `max_shipments`; of equal plans the first by `steps`.

    `stock` is by SKU and location id, in units. `ranks` has the locations that may be used, with a rank for each
    location step of `steps`. Without a plan step the locations are filled in the order of (ranks, id). `estimates` are
    by location id, for plan steps that compare cost or delivery days; `weights` are grams of a unit by SKU, for costs
    that depend on them. `pause` is that of the world (`World`).
    """
    compared = [step for step in steps if step in PLAN_STEPS]
    if max_shipments != 0 and compared in ([], [FEWEST_SHIPMENTS]):
        load = _whole_load(demand, stock, ranks)
        if load is not None:
            return Plan((load,))
    candidates = CandidateStock.of(demand, stock, ranks, pause, weights)
    limit = len(candidates.ids) if max_shipments is None else max_shipments
    if not compared or limit == 0 or not candidates.ids:
        return _plan(candidates, candidates.fill(range(len(candidates.ids)), limit))
    sole_suppliers = [index for index, holding in enumerate(candidates.holdings) if holding == candidates.demand]
    # A location that covers everything is the best set if shipments are compared first or none ranks above it.
    if compared == [FEWEST_SHIPMENTS] and sole_suppliers and (sole_suppliers[0] == 0 or steps[0] == FEWEST_SHIPMENTS):
        return _plan(candidates, sole_suppliers[:1])
    known_estimates = [estimates.get(key, UNKNOWN_ESTIMATE) for key in candidates.ids]
    sole = sole_suppliers if steps[0] == FEWEST_SHIPMENTS else ()
    if sole or len(candidates.skus) <= _FEW_PRODUCTS:
        branches = BranchSearch(candidates, steps, limit, known_estimates, pause, lookups=_FEW_LOOKUPS)
        if branches.run(sole):
            return _plan(candidates, branches.best)
    search = SetSearch(candidates, steps, limit, known_estimates, pause)
    is_best = search.run()
    return _plan(candidates, search.best, is_best, 0 if is_best else search.fewest)


def _whole_load(
    demand: Mapping[str, int], stock: Mapping[str, Mapping[str, int]], ranks: Mapping[str, Ranks]
) -> Load | None:
    """All units that any location has of the demand, if the best-ranked location has them: no other plan is better.

    None if it lacks some, or if there are none. Most orders end here, without a look at any other location.
    """
    units = {sku: count for sku, count in demand.items() if count and stock.get(sku)}
    if not units or not ranks:
        return None
    _, best = min(zip(ranks.values(), ranks, strict=True))
    if any(stock[sku].get(best, 0) < count for sku, count in units.items()):
        return None
    return Load(best, units)


def _plan(
    candidates: CandidateStock, chosen: Sequence[int], searched_exhaustively: bool = True, fewest_shipments: int = 0
) -> Plan:
    loads = []
    for index, given in candidates.given(chosen):
        units = {sku: unit_count for sku, unit_count in zip(candidates.skus, given, strict=True) if unit_count}
        loads.append(Load(candidates.ids[index], units))
    return Plan(tuple(loads), searched_exhaustively, fewest_shipments)
