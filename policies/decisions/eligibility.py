"""Which locations a question may use before any stock is looked at, and why not the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

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


@dataclass(frozen=True, slots=True)
class RoutingQuestion:
    """What stays the same at every location of one question.

    `own` are units by (sku, location id) which the same order already has promised; they count as free for it.
    `rejected_by` are (sku, location id) that could not be supplied to it: it gets no more there than its own.
    """

    world: World
    channel: Channel
    order: OrderFacts
    destination: Destination | None = None
    own: Mapping[tuple[str, str], int] = field(default_factory=dict)
    rejected_by: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(
        cls,
        world: World,
        channel: Channel,
        order: Order,
        own: Mapping[tuple[str, str], int],
        rejected_by: frozenset[tuple[str, str]] = frozenset(),
    ) -> RoutingQuestion:
        """The question that an order asks."""
        return cls(world, channel, OrderFacts.of(order), order.destination, own, rejected_by)

    def context(
        self,
        location: Location | None = None,
        sku: str | None = None,
        stock: StockLevel | None = None,
        plan: PlanFacts | None = None,
    ) -> Context:
        """What rules may know at this point of the question."""
        product = None if sku is None else self.world.products.get(sku)
        return Context(self.world.now, self.channel, self.order, self.destination, location, product, stock, plan)

    def locations(self) -> Iterator[Location]:
        """The channel's locations by id, closed ones too."""
        places = self.world.locations
        return (places[key] for key in sorted(self.channel.location_ids or places) if key in places)

    def level(self, sku: str, location_id: str) -> StockLevel | None:
        """The level with the order's own units given back; None where the product was never stocked."""
        key = (sku, location_id)
        level = self.world.levels.get(key)
        own = self.own.get(key, 0)
        return level if level is None or not own else _with_own_units_free(level, own)


def policies_for(policy_set: PolicySet, question: RoutingQuestion) -> tuple[RoutingPolicy, ...]:
    """The routing policies that apply to the question, lowest position first; the reader makes sure of one."""
    return policy_set.routing_matcher.fired(question.context())


def dropped_by_policy(policy: RoutingPolicy, location: Location, question: RoutingQuestion) -> DroppedLocation | None:
    """Why the routing policy does not use the location; None where it does."""
    if location.status == "closed":
        return DroppedLocation(location.id, None, DropReason.CLOSED)
    if policy.only_matcher is None and policy.exclude_matcher is None:
        return None
    context = question.context(location)
    if policy.only is not None and policy.only_matcher is not None and not policy.only_matcher.fired(context):
        sight = RuleEvidence(policy.only.when, context)
        return DroppedLocation(location.id, None, DropReason.NOT_ELIGIBLE, policy.only.name, policy.only.source, sight)
    excluded = policy.exclude_matcher.fired(context) if policy.exclude_matcher is not None else ()
    if excluded:
        first = excluded[0]
        sight = RuleEvidence(first.when, context)
        return DroppedLocation(location.id, None, DropReason.EXCLUDED, first.name, first.source, sight)
    return None


def may_split(policy: RoutingPolicy, value: Decimal | None) -> bool:
    """Whether an order of this value may go in several shipments. An order of unknown value is not worth it."""
    if policy.min_split_value is None:
        return True
    return value is not None and value >= Decimal(repr(policy.min_split_value))


def exclude_rule_behind(dropped: DroppedLocation) -> tuple[FiredRule, ...]:
    """The exclude rule behind a drop; an `only` drops where it does not fire."""
    if dropped.reason is not DropReason.EXCLUDED or dropped.rule is None or dropped.source is None:
        return ()
    effect = "not used by the routing policy"
    return (FiredRule(dropped.rule, dropped.source, dropped.location_id, dropped.sku, effect, dropped.sight),)


def _with_own_units_free(level: StockLevel, own: int) -> StockLevel:
    from_held = min(own, level.held)
    return replace(level, held=level.held - from_held, allocated=level.allocated - (own - from_held))
