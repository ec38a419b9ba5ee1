"""The rules of a folder as immutable values: one class for each kind of rule, and the set of all rules.

Reading rule files is in `reading`, deciding by them in `decisions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from policies.domain.listing_formats import Demand
from policies.domain.model import Product
from policies.domain.rate_table import RateTable, ShippingCost
from policies.engine.conditions import Condition, comparisons, needed_operands
from policies.engine.matcher import Matcher
from policies.facts.fact_table import FACTS
from policies.facts.measures import OLDEST_DAYS, READY_FOR_CHANNEL
from policies.source.problems import Source

HOLD_BACK_FORMS = ("units", "percent", "days_of_cover", "expected_sales")
OLDEST_STOCK = "oldest_stock"
LOCATION_STEPS = (
    *("nearest", "priority", "prefer", "deepest_stock", "most_days_of_cover", "most_reliable", "covers_most"),
    *("chosen_by_shopper", "least_loaded", OLDEST_STOCK),
)
FEWEST_SHIPMENTS, LOWEST_COST, EARLIEST_PROMISE = "fewest_shipments", "lowest_cost", "earliest_promise"
DELIVERY_STEPS = (LOWEST_COST, EARLIEST_PROMISE)
PLAN_STEPS = (FEWEST_SHIPMENTS, *DELIVERY_STEPS)


TEXT_ATTRIBUTES = ("display_name", "category", "brand", "style", "barcode")
NUMBER_ATTRIBUTES = ("price", "weight_grams", "length_mm", "width_mm", "height_mm")
IMAGES = "images"
ATTRIBUTES = (*TEXT_ATTRIBUTES, *NUMBER_ATTRIBUTES, IMAGES)
"""What every product has of its own; any other attribute is written with FREE_ATTRIBUTE before its name."""
FREE_ATTRIBUTE = "attributes."


def free_attribute(attribute: str) -> str | None:
    """The name of an attribute that the retailer has named; None for one of ATTRIBUTES."""
    return attribute.removeprefix(FREE_ATTRIBUTE) if attribute.startswith(FREE_ATTRIBUTE) else None


class Scope(StrEnum):
    """Whether a buffer applies at each location or to the channel's total."""

    LOCATION = "location"
    CHANNEL = "channel"


class Combine(StrEnum):
    """How several rules of one file that fire together combine their held-back units."""

    LARGEST = "largest"
    SUM = "sum"


@dataclass(frozen=True, slots=True)
class ExposureRule:
    """Keeps stock of a location from being sold. `reason` is the text after `block:` or `restrict:`.

    A restriction is what a location may not send at all: it binds every order. A block may be lifted for SOLD ones.
    """

    name: str
    when: Condition
    reason: str
    source: Source
    is_restriction: bool = False


@dataclass(frozen=True, slots=True)
class HoldBack:
    """How many units a buffer rule holds back.

    The form `units` holds back `units`; `percent` holds back `percent` of the available units, rounded up;
    `days_of_cover` holds back `days` times the velocity; `expected_sales` holds back the Poisson quantile
    `service_level` of sales within `during_seconds`. `minimum` and `maximum` bound the result in units.
    """

    form: str
    units: int = 0
    percent: float = 0.0
    days: float = 0.0
    during_seconds: float | None = None
    """None means the age of the stock figure."""
    service_level: float = 0.95
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class BufferRule:
    """One rule of a buffer file. Only `scope: channel` files have a cut-off and a cap."""

    name: str
    when: Condition
    source: Source
    hold_back: HoldBack | None = None
    publish_zero_at_or_below: int | None = None
    cap: int | None = None
    asks_of_stock: bool = field(init=False, repr=False, compare=False)
    """Whether it depends on the stock level if the rule applies, not only how much it holds back."""

    def __post_init__(self) -> None:
        groups = {FACTS[comparison.fact].group for comparison in comparisons(self.when)}
        object.__setattr__(self, "asks_of_stock", "stock" in groups)


@dataclass(frozen=True, slots=True)
class BufferFile:
    """A buffer file: rules that share a scope and a way to combine."""

    name: str
    scope: Scope
    combine: Combine
    rules: tuple[BufferRule, ...]
    source: Source
    matcher: Matcher[BufferRule] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class NamedCondition:
    """An `exclude` or `review` rule of a routing policy, or its `only` or `split_only_if`, named as the key."""

    name: str
    when: Condition
    source: Source


@dataclass(frozen=True, slots=True)
class RankStep:
    """One step of `rank`. `band_km` belongs to `nearest`; `matcher` (of one condition) to `prefer`."""

    kind: str
    source: Source
    band_km: float | None = None
    when: Condition | None = None
    matcher: Matcher[str] | None = field(default=None, repr=False, compare=False)


SHIP_BY, DELIVER_BY = "ship_by", "deliver_by"
DEADLINES = (SHIP_BY, DELIVER_BY)
"""Dates of an order that a routing policy can make every location keep."""


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """How one kind of order is routed. Of the policies that apply, the one with the lowest position decides.

    A location that does not meet `only` is dropped, and one that cannot keep the dates of the order that `must_meet`
    names, of DEADLINES. An order is split only if `split_only_if` is true of the split. Of a pickup order,
    `ship_to_store` and `ship_rest` let other locations send what the chosen store lacks to the store or to the shopper.
    `sold_may_use` contains 'buffer', 'blocked' or both. `otherwise` is 'exception' or 'next'.
    """

    name: str
    position: int
    source: Source
    applies_to: Condition
    rank: tuple[RankStep, ...]
    only: NamedCondition | None = None
    exclude: tuple[NamedCondition, ...] = ()
    review: tuple[NamedCondition, ...] = ()
    max_shipments: int | None = None
    min_split_value: float | None = None
    split_only_if: NamedCondition | None = None
    ship_complete: bool = False
    ship_to_store: bool = False
    ship_rest: bool = False
    sold_may_use: frozenset[str] = frozenset()
    otherwise: str = "exception"
    must_meet: frozenset[str] = frozenset()
    only_matcher: Matcher[NamedCondition] | None = field(default=None, repr=False, compare=False)
    exclude_matcher: Matcher[NamedCondition] | None = field(default=None, repr=False, compare=False)
    review_matcher: Matcher[NamedCondition] | None = field(default=None, repr=False, compare=False)
    split_matcher: Matcher[NamedCondition] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class DeliveryRule:
    """How a shipment from a location is delivered. Of the rules that apply, the one with the lowest position decides.

    `ships_on` are the days of the week on which parcels are shipped and carried (Monday is 0); only these count as
    `transit_days`. None means unknown, never 0. A rule has a cost of its own or `rates` by zone.
    """

    name: str
    position: int
    source: Source
    when: Condition
    service: str
    transit_days: int | None
    cost: ShippingCost | None
    ships_on: frozenset[int]
    rates: RateTable | None = None

    @property
    def sees_weight(self) -> bool:
        """Whether its cost depends on the weight of a shipment."""
        return any(rates is not None and rates.sees_weight for rates in (self.cost, self.rates))


@dataclass(frozen=True, slots=True)
class ExceptionRule:
    """Who resolves an exception, and how. Of the rules that apply, the one with the lowest position decides.

    `action` is one of `EXCEPTION_ACTIONS`. The owner has `due_in` to resolve it; then it escalates to `escalate_to`, if
    set.
    """

    name: str
    position: int
    source: Source
    when: Condition
    action: str
    owner: str
    due_in: timedelta
    escalate_to: str | None = None


@dataclass(frozen=True, slots=True)
class ListingRequirement:
    """What one attribute of a product must be before a platform can list it. Every rule that applies must be met.

    `owner` is who owns the product data. If it is not `is_required`, only a value that is stated must be as demanded.
    """

    name: str
    platform: str
    source: Source
    when: Condition
    attribute: str
    demand: Demand
    owner: str
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class PolicySet:
    """All rules of a folder, compiled and immutable. A request uses one policy set from start to end.

    `revision` is a hash of the paths and contents of the rule files. `routing`, `delivery` and `exceptions` are sorted
    by position, and their matchers return applying rules in that order. `exceptions` is empty if no file has any.
    `owners` are those that the files declare, each with its contact; empty if none does. `time_zone` and
    `currency`, an ISO 4217 code, are the merchant's; no currency is empty.
    """

    revision: str
    files: tuple[str, ...]
    exposure: tuple[ExposureRule, ...]
    buffers: tuple[BufferFile, ...]
    routing: tuple[RoutingPolicy, ...]
    exposure_matcher: Matcher[ExposureRule] = field(repr=False, compare=False)
    routing_matcher: Matcher[RoutingPolicy] = field(repr=False, compare=False)
    delivery: tuple[DeliveryRule, ...] = ()
    delivery_matcher: Matcher[DeliveryRule] = field(default_factory=lambda: Matcher([]), repr=False, compare=False)
    exceptions: tuple[ExceptionRule, ...] = ()
    exception_matcher: Matcher[ExceptionRule] = field(default_factory=lambda: Matcher([]), repr=False, compare=False)
    time_zone: str = "UTC"
    currency: str = ""
    owners: Mapping[str, str] = field(default_factory=dict, compare=False)
    restriction_matcher: Matcher[ExposureRule] | None = field(default=None, repr=False, compare=False)
    """The exposure rules that are restrictions; None if there are none."""

    listing_requirements: tuple[ListingRequirement, ...] = ()
    """In the order of their files, of which each is for one platform."""
    listing_matchers: Mapping[str, Matcher[ListingRequirement]] = field(default_factory=dict, repr=False, compare=False)
    """Those of each platform that has any."""

    reads_receipts: bool = field(init=False, default=False, repr=False, compare=False)
    """Whether its rules ask when stock came in."""
    receipt_tags: frozenset[str] | None = field(init=False, default=None, repr=False, compare=False)
    """They ask it only of orders with a product that has one of these tags; None if they may ask it of any."""
    reads_readiness: bool = field(init=False, default=False, repr=False, compare=False)
    """Whether its rules ask which products meet the listing requirements of a channel."""
    _buffers_by_scope: Mapping[Scope, Sequence[BufferFile]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_scope = {scope: tuple([buffer for buffer in self.buffers if buffer.scope is scope]) for scope in Scope}
        object.__setattr__(self, "_buffers_by_scope", by_scope)
        facts = self.facts
        object.__setattr__(self, "reads_receipts", OLDEST_DAYS in facts)
        object.__setattr__(self, "receipt_tags", self._receipt_tags())
        object.__setattr__(self, "reads_readiness", READY_FOR_CHANNEL in facts)

    def reads_receipts_of(self, products: Iterable[Product]) -> bool:
        """Whether its rules may ask when stock came in, to plan or to answer for orders of only these products."""
        if not self.reads_receipts:
            return False
        tags = self.receipt_tags
        return tags is None or any(not tags.isdisjoint(product.tags) for product in products)

    def buffers_of(self, scope: Scope) -> Sequence[BufferFile]:
        """The buffer files of a scope."""
        return self._buffers_by_scope[scope]

    @property
    def facts(self) -> frozenset[str]:
        """The names of all facts that its rules compare, except its exception rules, or that costs depend on."""
        facts = self._compared_facts()
        if any(_is_oldest_first(policy) for policy in self.routing):
            facts |= {OLDEST_DAYS}
        return facts | {"product.weight_grams"} if any(rule.sees_weight for rule in self.delivery) else facts

    def _compared_facts(self) -> frozenset[str]:
        matchers: list[Matcher[Any] | None] = [self.exposure_matcher, self.routing_matcher, self.delivery_matcher]
        matchers += [buffer.matcher for buffer in self.buffers]
        for policy in self.routing:
            matchers += [policy.only_matcher, policy.exclude_matcher, policy.review_matcher, policy.split_matcher]
            matchers += [step.matcher for step in policy.rank]
        return frozenset(fact for matcher in matchers if matcher is not None for fact in matcher.facts)

    def _receipt_tags(self) -> frozenset[str] | None:
        if OLDEST_DAYS in self._compared_facts():
            return None
        tags = [needed_operands(x.applies_to, "order.product_tags") for x in self.routing if _is_oldest_first(x)]
        return None if None in tags else frozenset(str(tag) for needed in tags for tag in needed or ())


def _is_oldest_first(policy: RoutingPolicy) -> bool:
    return any(step.kind == OLDEST_STOCK for step in policy.rank)
