"""What rule files say, once read: immutable rules of each kind, and the set of them all.

How they are read is in `reading`, what they decide in `sellable` and `routing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

from policies.engine.conditions import Condition
from policies.engine.matcher import Matcher
from policies.source.problems import Source

HOLD_BACK_FORMS = ("units", "percent", "days_of_cover", "expected_sales")
LOCATION_STEPS = (
    *("nearest", "priority", "prefer", "deepest_stock", "most_days_of_cover", "most_reliable", "covers_most"),
    "chosen_by_shopper",
)
FEWEST_SHIPMENTS, LOWEST_COST, EARLIEST_PROMISE = "fewest_shipments", "lowest_cost", "earliest_promise"
DELIVERY_STEPS = (LOWEST_COST, EARLIEST_PROMISE)
PLAN_STEPS = (FEWEST_SHIPMENTS, *DELIVERY_STEPS)


class Scope(StrEnum):
    """Whether a buffer holds back at each location, or from the channel's total."""

    LOCATION = "location"
    CHANNEL = "channel"


class Combine(StrEnum):
    """How the hold-backs of one file's rules that fired together combine."""

    LARGEST = "largest"
    SUM = "sum"


@dataclass(frozen=True, slots=True)
class ExposureRule:
    """Blocks stock from a channel. `reason` is the text after `block:`."""

    name: str
    when: Condition
    reason: str
    source: Source


@dataclass(frozen=True, slots=True)
class HoldBack:
    """How many units a buffer rule keeps.

    `units` uses `units`; `percent` uses `percent` of what is available, rounded up; `days_of_cover` uses `days` times
    the velocity; `expected_sales` the Poisson quantile `service_level` of what sells during `during` ('stock_age', or
    seconds). `minimum` and `maximum` bound the result in units.
    """

    form: str
    units: int = 0
    percent: float = 0.0
    days: float = 0.0
    during_seconds: float | None = None
    """None means during the age of the stock figure."""
    service_level: float = 0.95
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class BufferRule:
    """One rule of a buffer file. The cut-off and the cap stand only in `scope: channel` files."""

    name: str
    when: Condition
    source: Source
    hold_back: HoldBack | None = None
    publish_zero_at_or_below: int | None = None
    cap: int | None = None


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
    """An `exclude` or `review` rule of a routing policy, or its `only` (named 'only')."""

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


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """How one kind of order is routed. The policy with the lowest position that applies decides.

    `only` has been turned into a matcher of its own: a location for which it does not fire is dropped.
    `sold_may_use` holds 'buffer' and 'blocked'. `otherwise` is 'exception' or 'next'.
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
    ship_complete: bool = False
    sold_may_use: frozenset[str] = frozenset()
    otherwise: str = "exception"
    only_matcher: Matcher[NamedCondition] | None = field(default=None, repr=False, compare=False)
    exclude_matcher: Matcher[NamedCondition] | None = field(default=None, repr=False, compare=False)
    review_matcher: Matcher[NamedCondition] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ShippingCost:
    """What a shipment costs to send, in the merchant's currency: an amount of its own, and one for each unit in it."""

    per_shipment: Decimal = Decimal(0)
    per_unit: Decimal = Decimal(0)

    def of(self, unit_count: int) -> Decimal:
        """The cost of a shipment of so many units."""
        return self.per_shipment + self.per_unit * unit_count


@dataclass(frozen=True, slots=True)
class DeliveryRule:
    """How what leaves a location reaches the shopper. The rule with the lowest position that applies decides.

    `transit_days` are days of `ships_on`, on which parcels leave and travel (Monday is 0). None is unknown, never 0.
    """

    name: str
    position: int
    source: Source
    when: Condition
    service: str
    transit_days: int | None
    cost: ShippingCost | None
    ships_on: frozenset[int]


@dataclass(frozen=True, slots=True)
class ExceptionRule:
    """Who settles an exception, and how. The rule with the lowest position that applies decides.

    `action` is one of `EXCEPTION_ACTIONS`; the owner has `due_in` for it, then it goes to `escalate_to`, if anybody.
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
class PolicySet:
    """Every rule of a folder, compiled. Immutable; a request uses the one that it started with.

    `revision` is a hash of the rule files' paths and contents (answers name both). `routing`, `delivery`
    and `exceptions` are sorted by position, and their matchers fire those that apply in that order. `exceptions` is
    empty where no file has any. `time_zone` is the merchant's.
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

    def buffers_of(self, scope: Scope) -> Sequence[BufferFile]:
        """The buffer files that hold back at each location, or from the channel's total."""
        return [buffer for buffer in self.buffers if buffer.scope is scope]
