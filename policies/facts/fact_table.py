"""The table of facts that rules may use: name, type, unit, description, where each is known, how each is read.

The rules reader, the JSON Schema, `truestock facts` and the planners' guide use this table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from policies.domain.model import (
    CANCELLATION_FAULTS,
    CHANNEL_KINDS,
    EXCEPTION_KINDS,
    LOCATION_STATUSES,
    LOCATION_TYPES,
    PRODUCT_STATUSES,
    RULE_METHODS,
    Context,
)
from policies.facts.measures import (
    READY_FOR_CHANNEL,
    age_minutes,
    amount,
    capacity_left,
    days_of_cover,
    days_since_count,
    days_until_deliver_by,
    distance_km,
    hours_until_ship_by,
    margin_after_shipping,
    oldest_days,
    open_now,
    ready_for_channel,
    same_country,
    serves_destination,
)
from policies.facts.periods import time_fact_reader

Value = str | int | float | bool | frozenset[str]
"""The value of a fact; None means unknown."""

KNOWN = ".known"
"""`location.distance_km.known` tests whether `location.distance_km` is known. This works for every fact."""


MAX_CONSTANT = 1e15
"""The largest number in a rule. A float holds every whole number up to it exactly."""


class FactType(StrEnum):
    """The type of a fact's value. `texts` is a list of tags."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"
    TEXTS = "texts"


class RulePlace(StrEnum):
    """Where a condition can stand in rule files. Places know different facts. The value is the name in messages."""

    EXPOSURE = "an exposure rule"
    LOCATION_BUFFER = "a buffer file with 'scope: location'"
    CHANNEL_BUFFER = "a buffer file with 'scope: channel'"
    APPLIES_TO = "'applies_to'"
    CANDIDATE = "'only', 'exclude' and 'prefer'"
    DELIVERY = "a delivery rule"
    REVIEW = "'review'"
    SPLIT = "'split_only_if'"
    EXCEPTION = "an exception rule"
    LISTING = "a listing requirement"


OF_A_LISTING = frozenset({RulePlace.LISTING})
"""Where only the catalog's own figures of a product are known."""
EVERYWHERE = frozenset(RulePlace) - OF_A_LISTING
AT_A_LOCATION = frozenset({RulePlace.EXPOSURE, RulePlace.LOCATION_BUFFER, RulePlace.CANDIDATE, RulePlace.DELIVERY})
"""Places where the location is always known."""

OF_A_LOCATION = AT_A_LOCATION | {RulePlace.EXCEPTION}
OF_STOCK = frozenset({RulePlace.EXPOSURE, RulePlace.LOCATION_BUFFER, RulePlace.CHANNEL_BUFFER})
OF_A_PRODUCT = OF_STOCK | {RulePlace.EXCEPTION}
OF_ONE_LEVEL = frozenset({RulePlace.EXPOSURE, RulePlace.LOCATION_BUFFER})
OF_A_PLAN = frozenset({RulePlace.REVIEW, RulePlace.SPLIT})
OF_A_SPLIT = frozenset({RulePlace.SPLIT})
OF_AN_EXCEPTION = frozenset({RulePlace.EXCEPTION})
IN_THE_CATALOG = OF_A_PRODUCT | OF_A_LISTING
KNOWN_IN_THE_CATALOG = OF_ONE_LEVEL | OF_A_LISTING
OF_A_CHANNEL = EVERYWHERE - OF_AN_EXCEPTION
"""Places where the channel is always known: some exceptions, such as one about a feed, have none."""


@dataclass(frozen=True, slots=True)
class WordPattern:
    """What every word of a fact looks like. `help` completes "write ..."."""

    matches: re.Pattern[str]
    help: str


COUNTRY_CODE = WordPattern(re.compile("[A-Z]{2}"), "an ISO 3166-1 code of two capital letters, such as NO or US")


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact that rules may use. `read` returns None where it is unknown; an empty `allowed` means any word.

    `bounds` are the smallest and the largest number that it may be compared with, `value_range` those that it can have.
    In `known_in` it is always known; `pattern` is what every word of it looks like, in words and as a pattern. If its
    values come from the catalog, `absent` says what it means that the catalog lacks one.
    """

    name: str
    type: FactType
    help: str
    places: frozenset[RulePlace]
    read: Callable[[Context], Value | None]
    unit: str = ""
    allowed: tuple[str, ...] = ()
    bounds: tuple[float, float] = (-MAX_CONSTANT, MAX_CONSTANT)
    value_range: tuple[float, float] = (-inf, inf)
    known_in: frozenset[RulePlace] = frozenset()
    pattern: WordPattern | None = None
    absent: str = ""

    @property
    def group(self) -> str:
        """The part of the name before the dot: what the fact is about."""
        return self.name.partition(".")[0]


def find_fact(name: str) -> Fact | None:
    """The fact of this name, also for the name followed by `.known`."""
    return FACTS.get(name.removesuffix(KNOWN))


def fact_names(place: RulePlace) -> list[str]:
    """The names of all facts that are known in a place, in the order of the table."""
    return [fact.name for fact in FACTS.values() if place in fact.places]


_NOT_NEGATIVE, _ONE_OR_MORE = (0.0, inf), (1.0, inf)
_FARTHEST_KM = 20_016.0
"""Half the circumference of a sphere with a radius of 6,371 km."""

_TEXT, _NUMBER, _FLAG, _TEXTS = FactType.TEXT, FactType.NUMBER, FactType.FLAG, FactType.TEXTS

_TABLE = (
    Fact(
        "order.method",
        _TEXT,
        "how the shopper gets the order; transfer is what other locations send to the store of a pickup order",
        EVERYWHERE,
        lambda c: c.order.method if c.order else None,
        allowed=RULE_METHODS,
        known_in=OF_A_PLAN,
    ),
    Fact(
        "order.value",
        _NUMBER,
        "value of the whole order",
        EVERYWHERE,
        lambda c: amount(c.order.value) if c.order else None,
        unit="the merchant's currency",
        value_range=_NOT_NEGATIVE,
    ),
    Fact(
        "order.unit_count",
        _NUMBER,
        "units in the whole order",
        EVERYWHERE,
        lambda c: c.order.unit_count if c.order else None,
        unit="units",
        value_range=_ONE_OR_MORE,
        known_in=OF_A_PLAN,
    ),
    Fact(
        "order.line_count",
        _NUMBER,
        "lines in the order",
        EVERYWHERE,
        lambda c: c.order.line_count if c.order else None,
        unit="lines",
        value_range=_ONE_OR_MORE,
        known_in=OF_A_PLAN,
    ),
    Fact(
        "order.priority",
        _NUMBER,
        "the order's priority, set by the channel; higher goes first; unknown if the channel sets none",
        EVERYWHERE,
        lambda c: c.order.priority if c.order else None,
    ),
    Fact(
        "order.tags",
        _TEXTS,
        "tags of the order",
        EVERYWHERE,
        lambda c: c.order.tags if c.order else None,
        known_in=OF_A_PLAN,
    ),
    Fact(
        "order.weight_grams",
        _NUMBER,
        "weight of all units of the whole order; unknown if one of its products has no weight; in exception rules "
        "known only where an order falls short",
        EVERYWHERE,
        lambda c: c.order.weight_grams if c.order else None,
        unit="grams",
        value_range=_ONE_OR_MORE,
    ),
    Fact(
        "order.product_tags",
        _TEXTS,
        "tags of all products of the whole order; a kit counts as its components; in exception rules known only "
        "where an order falls short",
        EVERYWHERE,
        lambda c: c.order.product_tags if c.order else None,
        absent="no product has this tag",
    ),
    Fact(
        "order.hours_until_ship_by",
        _NUMBER,
        "whole hours until the channel wants the order to have shipped, below 0 once that has passed; unknown if the"
        " channel does not say",
        EVERYWHERE,
        hours_until_ship_by,
        unit="hours",
    ),
    Fact(
        "order.days_until_deliver_by",
        _NUMBER,
        "days from today (UTC) to the last day on which the order should be delivered, below 0 once that has passed;"
        " unknown if the order names none",
        EVERYWHERE,
        days_until_deliver_by,
        unit="days",
    ),
    Fact(
        "channel.id",
        _TEXT,
        "the channel, such as tiktok_shop",
        EVERYWHERE,
        lambda c: c.channel.id if c.channel else None,
        known_in=OF_A_CHANNEL,
        absent="no channel has this id",
    ),
    Fact(
        "channel.kind",
        _TEXT,
        "kind of channel",
        EVERYWHERE,
        lambda c: c.channel.kind if c.channel else None,
        allowed=CHANNEL_KINDS,
        known_in=OF_A_CHANNEL,
        absent="no channel is of this kind",
    ),
    Fact(
        "channel.cancellation_headroom",
        _NUMBER,
        "remaining share of the channel's cancellation allowance; at 0 the next cancellation is penalized",
        EVERYWHERE,
        lambda c: c.channel.cancellation_headroom if c.channel else None,
        unit="0 to 1",
        bounds=(0.0, 1.0),
        value_range=(0.0, 1.0),
    ),
    Fact(
        "product.sku",
        _TEXT,
        "the product's SKU",
        IN_THE_CATALOG,
        lambda c: c.product.sku if c.product else None,
        known_in=KNOWN_IN_THE_CATALOG,
        absent="no product has this SKU",
    ),
    Fact(
        "product.tags",
        _TEXTS,
        "tags of the product",
        IN_THE_CATALOG,
        lambda c: c.product.tags if c.product else None,
        known_in=KNOWN_IN_THE_CATALOG,
        absent="no product has this tag",
    ),
    Fact(
        "product.category",
        _TEXT,
        "the product's category",
        IN_THE_CATALOG,
        lambda c: c.product.category if c.product else None,
        absent="no product is in this category",
    ),
    Fact(
        "product.brand",
        _TEXT,
        "the product's brand",
        IN_THE_CATALOG,
        lambda c: c.product.brand if c.product else None,
        absent="no product is of this brand",
    ),
    Fact(
        "product.price",
        _NUMBER,
        "the product's price",
        IN_THE_CATALOG,
        lambda c: amount(c.product.price) if c.product else None,
        unit="the merchant's currency",
        value_range=_NOT_NEGATIVE,
    ),
    Fact(
        "product.velocity_per_day",
        _NUMBER,
        "units sold per day; unknown for a new product",
        OF_A_PRODUCT,
        lambda c: c.product.velocity_per_day if c.product else None,
        unit="units per day",
        value_range=_NOT_NEGATIVE,
    ),
    Fact(
        "product.weight_grams",
        _NUMBER,
        "weight of one packed unit; unknown if nobody has stated it",
        IN_THE_CATALOG,
        lambda c: c.product.weight_grams if c.product else None,
        unit="grams",
        value_range=_ONE_OR_MORE,
    ),
    Fact(
        "product.has_dimensions",
        _FLAG,
        "whether the catalog has its weight and dimensions; false if nobody has stated them",
        OF_A_PRODUCT,
        lambda c: c.product.has_dimensions if c.product else None,
        known_in=OF_ONE_LEVEL,
    ),
    Fact(
        "product.has_barcode",
        _FLAG,
        "whether the catalog has a barcode of it; false if nobody has stated one",
        OF_A_PRODUCT,
        lambda c: c.product.has_barcode if c.product else None,
        known_in=OF_ONE_LEVEL,
    ),
    Fact(
        "product.has_image",
        _FLAG,
        "whether the catalog has an image of it; false if nobody has stated one",
        OF_A_PRODUCT,
        lambda c: c.product.has_image if c.product else None,
        known_in=OF_ONE_LEVEL,
    ),
    Fact(
        READY_FOR_CHANNEL,
        _FLAG,
        "whether the product meets the listing requirements (`kind: listing_requirements`) of the channel's platform; "
        "unknown if the channel has no platform, or its platform has no requirements",
        frozenset({RulePlace.EXPOSURE}),
        ready_for_channel,
    ),
    Fact(
        "product.status",
        _TEXT,
        "status of the product in the catalog",
        IN_THE_CATALOG,
        lambda c: c.product.status if c.product else None,
        allowed=PRODUCT_STATUSES,
        known_in=KNOWN_IN_THE_CATALOG,
    ),
    Fact(
        "location.id",
        _TEXT,
        "the location that holds the stock",
        OF_A_LOCATION,
        lambda c: c.location.id if c.location else None,
        known_in=AT_A_LOCATION,
        absent="no location has this id",
    ),
    Fact(
        "location.type",
        _TEXT,
        "kind of location",
        OF_A_LOCATION,
        lambda c: c.location.type if c.location else None,
        allowed=LOCATION_TYPES,
        known_in=AT_A_LOCATION,
        absent="no location is of this type",
    ),
    Fact(
        "location.status",
        _TEXT,
        "whether the location is in operation today",
        OF_A_LOCATION,
        lambda c: c.location.status if c.location else None,
        allowed=LOCATION_STATUSES,
        known_in=AT_A_LOCATION,
    ),
    Fact(
        "location.tags",
        _TEXTS,
        "tags of the location",
        OF_A_LOCATION,
        lambda c: c.location.tags if c.location else None,
        known_in=AT_A_LOCATION,
        absent="no location has this tag",
    ),
    Fact(
        "location.country",
        _TEXT,
        "the location's country, as an ISO code such as NO",
        OF_A_LOCATION,
        lambda c: c.location.country if c.location else None,
        pattern=COUNTRY_CODE,
        absent="no location is in this country",
    ),
    Fact(
        "location.region",
        _TEXT,
        "the location's region or state",
        OF_A_LOCATION,
        lambda c: c.location.region if c.location else None,
        absent="no location is in this region",
    ),
    Fact(
        "location.offers_pickup",
        _FLAG,
        "whether shoppers can pick up orders there; false if nobody has stated it",
        OF_A_LOCATION,
        lambda c: c.location.offers_pickup if c.location else None,
        known_in=AT_A_LOCATION,
    ),
    Fact(
        "location.handling_minutes",
        _NUMBER,
        "time to pick and pack there; unknown if nobody has stated it",
        OF_A_LOCATION,
        lambda c: c.location.handling_minutes if c.location else None,
        unit="minutes",
        value_range=_NOT_NEGATIVE,
    ),
    Fact(
        "location.open_now",
        _FLAG,
        "whether the location is open now, by its time zone, opening days and hours; unknown if its hours are unknown",
        OF_A_LOCATION,
        open_now,
    ),
    Fact(
        "location.capacity_left",
        _NUMBER,
        "orders that the location can still take on the day on which it would handle one that comes now, 0 if it has "
        "no unit left; units if it limits only those; unknown if it limits neither, and in exception rules",
        OF_A_LOCATION,
        capacity_left,
        unit="orders or units",
        value_range=_NOT_NEGATIVE,
    ),
    Fact(
        "location.distance_km",
        _NUMBER,
        "great-circle distance to the destination; unknown if either has no coordinates",
        OF_A_LOCATION,
        distance_km,
        unit="kilometers",
        value_range=(0.0, _FARTHEST_KM),
    ),
    Fact(
        "location.same_country",
        _FLAG,
        "whether the location is in the destination's country; unknown if either country is unknown",
        OF_A_LOCATION,
        same_country,
    ),
    Fact(
        "location.serves_destination",
        _FLAG,
        "whether the location ships to the destination's country",
        OF_A_LOCATION,
        serves_destination,
    ),
    Fact(
        "stock.on_hand",
        _NUMBER,
        "units physically in stock, sellable or not",
        OF_STOCK,
        lambda c: c.stock.on_hand if c.stock else None,
        unit="units",
        known_in=OF_ONE_LEVEL,
    ),
    Fact(
        "stock.available",
        _NUMBER,
        "units on hand less unavailable, held and allocated units",
        OF_STOCK,
        lambda c: c.stock.available if c.stock else None,
        unit="units",
        known_in=OF_ONE_LEVEL,
    ),
    Fact(
        "stock.age_minutes",
        _NUMBER,
        "time since the stock level was last true at its source; unknown if no source has reported it",
        OF_ONE_LEVEL,
        age_minutes,
        unit="minutes",
        value_range=_NOT_NEGATIVE,
    ),
    Fact(
        "stock.days_since_count",
        _NUMBER,
        "time since a person last counted; unknown if nobody has",
        OF_ONE_LEVEL,
        days_since_count,
        unit="days",
        value_range=_NOT_NEGATIVE,
    ),
    Fact(
        "stock.oldest_days",
        _NUMBER,
        "days since the oldest of the units on hand came in, if the oldest leave first; unknown if nothing is on hand, "
        "or its receipts are not recorded",
        OF_ONE_LEVEL,
        oldest_days,
        unit="days",
        value_range=_NOT_NEGATIVE,
    ),
    Fact(
        "stock.count_confidence",
        _NUMBER,
        "chance that the on-hand figure is right now: 1 when a person counts, then (b / (b + x)) ^ a, with x the days "
        "and the deliveries and sales since; a and b are learned from earlier counts there (0.5 and 76 without any), "
        "after DeHoratius, Mersereau & Schrage 2008; halved by a pick that did not find its units; unknown if nobody "
        "has counted",
        OF_ONE_LEVEL,
        lambda c: c.stock.count_confidence if c.stock else None,
        unit="0 to 1",
        bounds=(0.0, 1.0),
        value_range=(0.0, 1.0),
    ),
    Fact(
        "stock.days_of_cover",
        _NUMBER,
        "days until the available units are sold, at the product's velocity",
        OF_STOCK,
        days_of_cover,
        unit="days",
        value_range=_NOT_NEGATIVE,
    ),
    Fact(
        "stock.source",
        _TEXT,
        "the feed that reported the stock level",
        OF_ONE_LEVEL,
        lambda c: c.stock.source if c.stock else None,
        absent="no declared feed has this name, and nothing of this name has reported stock",
    ),
    Fact(
        "destination.country",
        _TEXT,
        "the country that the order goes to, as an ISO code",
        EVERYWHERE,
        lambda c: c.destination.country if c.destination else None,
        pattern=COUNTRY_CODE,
        absent="no location ships to this country, and none of the latest orders went there",
    ),
    Fact(
        "destination.region",
        _TEXT,
        "the region or state that the order goes to",
        EVERYWHERE,
        lambda c: c.destination.region if c.destination else None,
        absent="no location is in this region, none of the latest orders went there, and it is no code of ISO 3166-2",
    ),
    Fact(
        "destination.postal_code",
        _TEXT,
        "the postal code that the order goes to",
        EVERYWHERE,
        lambda c: c.destination.postal_code if c.destination else None,
    ),
    Fact(
        "plan.shipment_count",
        _NUMBER,
        "shipments in the finished plan",
        OF_A_PLAN,
        lambda c: c.plan.shipment_count if c.plan else None,
        unit="shipments",
        value_range=_ONE_OR_MORE,
        known_in=OF_A_PLAN,
    ),
    Fact(
        "plan.distance_km",
        _NUMBER,
        "total distance of the shipments in the finished plan",
        OF_A_PLAN,
        lambda c: c.plan.distance_km if c.plan else None,
        unit="kilometers",
        value_range=_NOT_NEGATIVE,
    ),
    Fact(
        "plan.cost",
        _NUMBER,
        "shipping cost of all shipments in the finished plan; unknown if the cost of one is unknown",
        OF_A_PLAN,
        lambda c: amount(c.plan.cost) if c.plan else None,
        unit="the merchant's currency",
        value_range=_NOT_NEGATIVE,
    ),
    Fact(
        "plan.margin_after_shipping",
        _NUMBER,
        "value of the order less the shipping cost of the finished plan; unknown if either is unknown",
        OF_A_PLAN,
        margin_after_shipping,
        unit="the merchant's currency",
    ),
    Fact(
        "plan.days_until_delivery",
        _NUMBER,
        "days from today until the last shipment of the finished plan arrives, by the calendar of its location; unknown"
        " if the day of one is unknown",
        OF_A_PLAN,
        lambda c: c.plan.days_until_delivery if c.plan else None,
        unit="days",
        value_range=_NOT_NEGATIVE,
    ),
    Fact(
        "plan.days_saved",
        _NUMBER,
        "days by which a split reaches the shopper before the one location that would ship instead; below 0 if it is "
        "later; unknown if that location does not have all of its units, or a day is unknown",
        OF_A_SPLIT,
        lambda c: c.plan.days_saved if c.plan else None,
        unit="days",
    ),
    Fact(
        "exception.kind",
        _TEXT,
        "kind of exception",
        OF_AN_EXCEPTION,
        lambda c: c.exception_kind,
        allowed=EXCEPTION_KINDS,
        known_in=OF_AN_EXCEPTION,
    ),
    Fact(
        "cancellation.fault",
        _TEXT,
        "who caused the request to cancel, of an exception of the kind `cancel_requested`; unknown if not stated",
        OF_AN_EXCEPTION,
        lambda c: c.cancellation.fault if c.cancellation else None,
        allowed=CANCELLATION_FAULTS,
    ),
    Fact(
        "cancellation.work_started",
        _FLAG,
        "whether a location has accepted or shipped any of the units, of an exception of the kind `cancel_requested`",
        OF_AN_EXCEPTION,
        lambda c: c.cancellation.work_started if c.cancellation else None,
    ),
)


def known_facts(place: RulePlace) -> frozenset[str]:
    """The names of the facts that are always known in a place."""
    return frozenset(fact.name for fact in _TABLE if place in fact.known_in)


class _Facts(dict[str, Fact]):
    """The table by name. It also resolves facts about time, which come from `from`, `until` and `during` in rules."""

    def __missing__(self, name: str) -> Fact:
        read = time_fact_reader(name)
        if read is None:
            raise KeyError(name)
        return Fact(name, _FLAG, "whether the rule is in force at this time", EVERYWHERE, read)


FACTS: Mapping[str, Fact] = _Facts({fact.name: fact for fact in _TABLE})
