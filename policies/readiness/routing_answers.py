"""Routing: whether some location serves each destination and method of a channel, and what stores can handle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policies.decisions.eligibility import RoutingQuestion, reason_not_allowed
from policies.domain.model import PICKUP, SHIP, Channel, Destination, Location, OrderFacts, World
from policies.policy_set import PolicySet
from policies.readiness import questions
from policies.readiness.answers import Answer, counted, fails, listed, passes, warns

DEMAND_DAYS = 90
SHIPMENT_DAYS = 30
_STATE_MARKETS = "state the countries that it sells to as its `markets` in `truestock import channels`."


@dataclass(frozen=True, slots=True)
class Demand:
    """Orders of a channel by a method to a country or a region, of the last DEMAND_DAYS; none of a mere market."""

    method: str
    country: str | None
    order_count: int = 0
    region: str | None = None

    @property
    def text(self) -> str:
        """Such as `ship to DE (12 orders)`."""
        where = "-".join(filter(None, (self.country, self.region))) or "anywhere"
        place = f"{self.method} to {where}" if self.method == SHIP else self.method
        return f"{place} ({counted(self.order_count, 'order')})" if self.order_count else place


def markets(channel: Channel, locations: Sequence[Location]) -> list[Demand]:
    """What a channel may be asked for, although nobody has ordered it yet.

    It is to ship to its markets or, where it states none, to the countries of its locations and those that they name;
    and pickup where a location offers it.
    """
    countries = {location.country for location in locations if location.country}
    countries |= {country for location in locations for country in location.ships_to or () if len(country) == 2}
    found = [_to_market(market) for market in channel.markets or sorted(countries)]
    return [*found, Demand(PICKUP, None)] if any(location.offers_pickup for location in locations) else found


def _to_market(market: str) -> Demand:
    country, _, region = market.partition("-")
    return Demand(SHIP, country, region=region or None)


def unserved(policy_set: PolicySet, world: World, channel: Channel, demands: Sequence[Demand]) -> list[Demand]:
    """The demands that no location of the channel may serve by the routing rules, whatever its stock."""
    return [demand for demand in demands if not _is_served(policy_set, world, channel, demand)]


def destinations_covered(channel: Channel, demands: Sequence[Demand], not_served: Sequence[Demand]) -> Answer:
    """Whether each destination and method is served; unknown without markets. A till ships nowhere."""
    question = questions.DESTINATIONS_COVERED
    if not demands:
        return warns(question, "there are no orders yet, and the channel states no markets", _STATE_MARKETS)
    if not_served:
        finding = f"{len(not_served):,} of {counted(len(demands), 'destination')} without a location"
        advice = (
            "let a routing policy or the `ships_to` of a location serve them, or stop selling there; "
            "`truestock allocate --dry-run` shows which rule drops each location."
        )
        return fails(question, finding, advice, [demand.text for demand in not_served])
    finding = f"{counted(len(demands), 'destination')} served: {listed([x.text for x in demands])}"
    if not channel.markets and channel.kind != "pos":
        return warns(question, f"the channel states no markets; {finding}", _STATE_MARKETS)
    return passes(question, finding)


def capacity_stated(locations: Sequence[Location], shipments: Mapping[str, int]) -> Answer:
    """Whether stores that ship state a capacity. `shipments` are those of the last SHIPMENT_DAYS by location."""
    question = questions.CAPACITY_STATED
    stores = [x for x in locations if x.type == "store" and x.status != "closed" and _ships(x)]
    without = [x for x in stores if x.capacity is None]
    if not without:
        return passes(question, f"{counted(len(stores), 'store')} with a capacity" if stores else "no store ships")
    advice = "state `orders_per_day` or another limit of each in `truestock import locations`."
    details = [f"{x.id}: {counted(shipments.get(x.id, 0), 'shipment')} in {SHIPMENT_DAYS} days" for x in without]
    finding = f"{len(without):,} of {counted(len(stores), 'store')} without a capacity"
    if any(shipments.get(x.id) for x in without):
        return fails(question, finding, advice, details)
    return warns(question, f"{finding}; none of them has shipped yet", advice, details)


def _ships(location: Location) -> bool:
    return location.ships_to is None or bool(location.ships_to)


def _is_served(policy_set: PolicySet, world: World, channel: Channel, demand: Demand) -> bool:
    destination = None if demand.country is None else Destination(demand.country, demand.region)
    question = RoutingQuestion(world, channel, OrderFacts(method=demand.method), destination)
    return any(
        location.status == "open" and reason_not_allowed(policy_set, question, location.id) is None
        for location in question.locations()
    )
