"""Which locations are eligible before stock is considered, and why the others are dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from policies.domain.model import (
    Channel,
    Context,
    Destination,
    Location,
    Order,
    OrderFacts,
    PlanFacts,
    StockLevel,
    World,
)
from policies.explanation import DroppedLocation, DropReason, FiredRule, RuleEvidence
from policies.policy_set import PolicySet, RoutingPolicy

NO_PROMISED_UNITS: Mapping[tuple[str, str], int] = {}


@dataclass(slots=True, unsafe_hash=True)
class WholeOrder:
    """The order of which only some units are planned.

    `facts` are those that rules see: of all its units that are not cancelled. `kept_units`, by (sku, location id), stay
    promised to it where they are. `has_other_shortages`: units that are not planned now are short as well.
    """

    facts: Final[OrderFacts]
    kept_units: Final[Mapping[tuple[str, str], int]] = field(default_factory=lambda: NO_PROMISED_UNITS)
    has_other_shortages: Final[bool] = False


@dataclass(slots=True, unsafe_hash=True)
class RoutingQuestion:
    """What is the same for every location of one question.

    `own_units` are units by (sku, location id) that are already promised to the same order and therefore available to
    it. `kept_units` are promised to it as well, but stay where they are and are not planned. Rules see the stock as it
    was before the order took either. `rejected_by` are (sku, location id) that could not supply the order: it gets only
    its own units there.
    """

    world: Final[World]
    channel: Final[Channel]
    order: Final[OrderFacts]
    destination: Final[Destination | None] = None
    own_units: Final[Mapping[tuple[str, str], int]] = field(default_factory=dict)
    rejected_by: Final[frozenset[tuple[str, str]]] = frozenset()
    kept_units: Final[Mapping[tuple[str, str], int]] = field(default_factory=lambda: NO_PROMISED_UNITS)

    @classmethod
    def of(
        cls,
        world: World,
        channel: Channel,
        order: Order,
        own_units: Mapping[tuple[str, str], int],
        *,
        rejected_by: frozenset[tuple[str, str]] = frozenset(),
        whole: WholeOrder | None = None,
    ) -> RoutingQuestion:
        """The question which locations fulfill an order, or the units of it that are planned, if `whole` is given."""
        whole = whole or WholeOrder(OrderFacts.of(order, world.products))
        return cls(world, channel, whole.facts, order.destination, own_units, rejected_by, whole.kept_units)

    def context(
        self,
        location: Location | None = None,
        sku: str | None = None,
        stock: StockLevel | None = None,
        plan: PlanFacts | None = None,
    ) -> Context:
        """The context that rules are matched against at this step."""
        product = None if sku is None else self.world.products.get(sku)
        return Context(
            *(self.world.now, self.channel, self.order, self.destination, location, product, stock, plan),
            capacity=self.world.capacity,
        )

    def locations(self) -> Iterator[Location]:
        """The channel's locations in the order of their ids, including closed ones."""
        locations = self.world.locations
        ids = sorted(self.channel.location_ids or locations)
        return (locations[location_id] for location_id in ids if location_id in locations)

    def level(self, sku: str, location_id: str) -> StockLevel | None:
        """The level with the order's own units counted as available; None if the product was never stocked there."""
        key = (sku, location_id)
        level = self.world.levels.get(key)
        own_units = self.own_units.get(key, 0) + self.kept_units.get(key, 0)
        return level if level is None or not own_units else _with_own_units_free(level, own_units)


def policies_for(policy_set: PolicySet, question: RoutingQuestion) -> tuple[RoutingPolicy, ...]:
    """The routing policies that apply, lowest position first; the reader of rules ensures that one always does."""
    return policy_set.routing_matcher.fired(question.context())


def dropped_by_policy(policy: RoutingPolicy, location: Location, question: RoutingQuestion) -> DroppedLocation | None:
    """Why the routing policy drops the location; None if it is eligible."""
    if location.status == "closed":
        return DroppedLocation(location.id, None, DropReason.CLOSED)
    if policy.only_matcher is None and policy.exclude_matcher is None:
        return None
    context = question.context(location)
    if policy.only is not None and policy.only_matcher is not None and not policy.only_matcher.fired(context):
        rule, evidence = policy.only, RuleEvidence(policy.only.when, context)
        return DroppedLocation(location.id, None, DropReason.NOT_ELIGIBLE, rule.name, rule.source, evidence)
    excluded = policy.exclude_matcher.fired(context) if policy.exclude_matcher is not None else ()
    if excluded:
        first = excluded[0]
        evidence = RuleEvidence(first.when, context)
        return DroppedLocation(location.id, None, DropReason.EXCLUDED, first.name, first.source, evidence)
    return None


def reason_not_allowed(policy_set: PolicySet, question: RoutingQuestion, location_id: str) -> str | None:
    """Why no routing policy lets the order use a location, as a clause; None if one does.

    Asks every policy that could decide: the first that applies and, while it says `otherwise: next`, the next one. A
    location outside the catalog or the channel is not allowed either. Stock plays no part.
    """
    location = question.world.locations.get(location_id)
    if location is None:
        return f"{location_id} is not in the catalog"
    if not question.channel.may_sell_from(location_id):
        return f"{question.channel.id} no longer sells from {location_id}"
    dropped: DroppedLocation | None = None
    for policy in policies_for(policy_set, question):
        dropped = dropped_by_policy(policy, location, question)
        if dropped is None or policy.otherwise != "next":
            break
    return None if dropped is None else _reason_text(dropped)


def _reason_text(dropped: DroppedLocation) -> str:
    if dropped.reason is DropReason.CLOSED:
        return f"{dropped.location_id} is closed"
    verb = "excludes" if dropped.reason is DropReason.EXCLUDED else "does not allow"
    return f"rule {dropped.rule} ({dropped.source}) {verb} {dropped.location_id}"


def may_split(policy: RoutingPolicy, value: Decimal | None) -> bool:
    """Whether an order of this value may be split. With a `min_split_value`, one of unknown value may not."""
    if policy.min_split_value is None:
        return True
    return value is not None and value >= Decimal(repr(policy.min_split_value))


def exclude_rule_behind(dropped: DroppedLocation) -> tuple[FiredRule, ...]:
    """The exclude rule that dropped a location; empty if another reason did. An `only` drops by not firing."""
    if dropped.reason is not DropReason.EXCLUDED or dropped.rule is None or dropped.source is None:
        return ()
    effect = "excluded by the routing policy"
    return (FiredRule(dropped.rule, dropped.source, dropped.location_id, dropped.sku, effect, dropped.evidence),)


def _with_own_units_free(level: StockLevel, own_units: int) -> StockLevel:
    from_held = min(own_units, level.held)
    return replace(level, held=level.held - from_held, allocated=level.allocated - (own_units - from_held))
