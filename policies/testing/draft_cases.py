"""Cases for values of facts: the question, locations, products and channels that give facts these values in a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from policies.domain.model import TRANSFER
from policies.facts.fact_table import Value
from policies.facts.measures import READY_FOR_CHANNEL
from policies.policy_set import ListingRequirement
from policies.testing.fixtures import KNOWN_CHANNELS
from policies.testing.wrong_values import wrong_value

CASE_CHANNEL, CASE_SKU, CASE_LOCATION = "shopify", "SKU-1", "store"
"""The names in cases of rules that ask for none."""
DEFAULT_PLATFORM = "shopify"

_KM_OF_A_DEGREE = 111.194926
_UNITS = 10
"""Units in stock where rules ask for none."""

Keys = dict[str, object]
"""A mapping of a suite: texts, numbers, lists and mappings by key."""


class CaseKind(StrEnum):
    """What a test asks: units for sale, the routing of an order, a delivery, who resolves an exception, or whether a
    product can be listed.
    """

    SALE = "sale"
    ORDER = "order"
    DELIVERY = "delivery"
    EXCEPTION = "exception"
    LISTING = "listing"


_EMPTY: frozenset[str] = frozenset()
_CATALOG: Mapping[str, Value | None] = {
    "channel.id": CASE_CHANNEL,
    "channel.kind": KNOWN_CHANNELS[CASE_CHANNEL],
    "location.id": CASE_LOCATION,
    "location.type": "store",
    "location.status": "open",
    "location.tags": _EMPTY,
    "location.offers_pickup": False,
    "location.serves_destination": True,
}
_PRODUCT: Mapping[str, Value | None] = {
    "product.sku": CASE_SKU,
    "product.tags": _EMPTY,
    "product.status": "active",
    **dict.fromkeys(("product.has_dimensions", "product.has_barcode", "product.has_image"), True),
    READY_FOR_CHANNEL: True,
}
_STOCK: Mapping[str, Value | None] = {
    "stock.on_hand": float(_UNITS),
    "stock.available": float(_UNITS),
    "stock.age_minutes": 0.0,
}
_ORDER: Mapping[str, Value | None] = {
    "order.method": "ship",
    "order.unit_count": 1.0,
    "order.tags": _EMPTY,
    "order.product_tags": _EMPTY,
}
DEFAULTS: Mapping[CaseKind, Mapping[str, Value | None]] = {
    CaseKind.SALE: {**_CATALOG, **_PRODUCT, **_STOCK, "order.product_tags": _EMPTY},
    CaseKind.ORDER: {
        **_CATALOG,
        **_PRODUCT,
        **_STOCK,
        **_ORDER,
        "order.line_count": 1.0,
        "plan.shipment_count": 1.0,
    },
    CaseKind.DELIVERY: {**_CATALOG, **_ORDER},
    CaseKind.EXCEPTION: {"exception.kind": "oversell"},
    CaseKind.LISTING: {"product.sku": CASE_SKU, "product.tags": _EMPTY, "product.status": "active"},
}
"""The values that facts have in a case that states nothing; others are unknown."""


@dataclass(frozen=True, slots=True)
class Case:
    """The parts of a test: `given`, and the locations, products and channels that it uses, by name."""

    given: Keys
    fixtures: Mapping[str, Keys]


@dataclass(slots=True)
class CaseBuilder:
    """Builds the case of one question. `values` has the facts that must have other values than by default.

    `suffixes` are added to the names that the rules do not ask for, by kind of fixture, so that cases of one suite can
    differ. `companion` has the facts of a second location of an order, which has stock too. `requirement` is the
    listing requirement that the product of the case does not meet.
    """

    kind: CaseKind
    values: Mapping[str, Value | None]
    now: datetime
    companion: Mapping[str, Value | None] | None = None
    requirement: ListingRequirement | None = None
    suffixes: dict[str, str] = field(default_factory=dict)
    location: Keys = field(default_factory=dict)
    product: Keys = field(default_factory=dict)

    def case(self) -> Case:
        """The case. A value that no test can state is left out, so that the case may not do what it should."""
        channels = self._channels()
        given: Keys = {}
        if self.kind is CaseKind.EXCEPTION:
            given["exception"] = self.values.get("exception.kind", "oversell")
            given |= _stated({key: self.values.get(f"cancellation.{key}") for key in ("fault", "work_started")})
        if self.kind is not CaseKind.EXCEPTION or self._names("channel."):
            given["channel"] = self._channel_id()
        self._add_product()
        self._add_question(given)
        self._add_location_and_destination(given)
        self._add_order(given)
        locations: Keys = dict.fromkeys(self._location_ids(), self._location())
        if self.companion is not None:
            locations |= self._add_companion(given)
        if self.kind is CaseKind.ORDER and given.get("method") == TRANSFER:
            locations |= self._add_pickup(given)
        products: Keys = dict.fromkeys(self._skus(), self.product)
        return Case(given, {"locations": locations, "products": products, "channels": channels})

    def _names(self, prefix: str) -> bool:
        """Whether the case states a fact of this group."""
        return any(fact.startswith(prefix) and value is not None for fact, value in self.values.items())

    def _count(self, fact: str, default: int) -> int:
        value = self.values.get(fact)
        return default if value is None or isinstance(value, (str, frozenset)) else int(value)

    def _channel_id(self) -> str:
        if self.requirement is not None:
            platform = self.requirement.platform
            return platform if platform in KNOWN_CHANNELS else f"{platform}-channel"
        if self.values.get("channel.id") is not None:
            return str(self.values["channel.id"])
        kind = self.values.get("channel.kind")
        of_kind = (channel for channel, known in KNOWN_CHANNELS.items() if kind in (None, known))
        id = "shopify" if kind is None else next(of_kind, f"{kind}-channel")
        suffix = self.suffixes.get("channels", "")
        return id if self.values.get("channel.cancellation_headroom") is None else f"{id}-few-left{suffix}"

    def _channels(self) -> Keys:
        """The channel's fixture, if it is not one of those that every suite has."""
        if self.kind is CaseKind.EXCEPTION and not self._names("channel."):
            return {}
        id, headroom = self._channel_id(), self.values.get("channel.cancellation_headroom")
        platform = DEFAULT_PLATFORM if READY_FOR_CHANNEL in self.values else None
        if self.requirement is not None:
            platform = self.requirement.platform
        kind = self.values.get("channel.kind") or KNOWN_CHANNELS.get(id, "web")
        if headroom is None and KNOWN_CHANNELS.get(id) == kind:
            return {}
        return {id: {"kind": kind, **_stated({"cancellation_headroom": headroom, "platform": platform})}}

    def _location_ids(self) -> list[str]:
        if self.kind is CaseKind.LISTING or (self.kind is CaseKind.EXCEPTION and not self._names("location.")):
            return []
        stated = self.values.get("location.id")
        if stated is not None:
            return [str(stated)]
        name = f"{self.values.get('location.type') or 'store'}{self.suffixes.get('locations', '')}"
        count = self._count("plan.shipment_count", 1)
        return [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]

    def _skus(self) -> list[str]:
        if self.kind is CaseKind.DELIVERY:
            return []
        if self.kind is CaseKind.EXCEPTION and not self._names("product.") and not self._has_lines():
            return []
        stated = self.values.get("product.sku")
        first = f"{CASE_SKU}{self.suffixes.get('products', '')}" if stated is None else str(stated)
        more = range(2, self._count("order.line_count", 1) + 1) if self.kind is not CaseKind.SALE else ()
        return [first, *(f"{first}-{number}" for number in more)]

    def _has_lines(self) -> bool:
        return self._names("order.unit_count") or self._names("order.line_count")

    def _add_location_and_destination(self, given: Keys) -> None:
        """The fields of the location and of the order's destination, which facts about both depend on."""
        values = self.values
        here, there = values.get("location.country"), values.get("destination.country")
        same = values.get("location.same_country")
        if same is not None:
            here = here or (there if same and there else "US")
            there = there or (here if same else next(code for code in ("CA", "US") if code != here))
        self.location = _stated({"type": values.get("location.type") or "store", "country": here})
        for key in ("status", "region", "offers_pickup", "handling_minutes"):
            if (value := values.get(f"location.{key}")) is not None:
                self.location[key] = _number(value)
        if tags := _tags(values.get("location.tags")):
            self.location["tags"] = tags
        if "location.serves_destination" in values and not values["location.serves_destination"]:
            # Nowhere is a clear no. With a list and no destination it is unknown.
            self.location["ships_to"] = [] if values["location.serves_destination"] is False else ["US"]
        is_open = values.get("location.open_now")
        if is_open is not None:
            hours: Keys = {"opens": "00:00", "closes": "00:00"}
            self.location |= hours if is_open else {"holidays": [f"{self.now:%Y-%m-%d}"]}
        destination = _stated(
            {
                "country": there,
                "region": values.get("destination.region"),
                "postal_code": values.get("destination.postal_code"),
            }
        )
        if self._names("location.distance_km") or self._names("plan.distance_km"):
            destination["coordinates"] = [0, 0]
        if destination:
            given["destination"] = destination

    def _location(self) -> Keys:
        """The fixture of a location, on the equator as the destination is; those of a plan share its distance."""
        distance = self.values.get("location.distance_km")
        total = self.values.get("plan.distance_km")
        if distance is None and isinstance(total, (int, float)):
            distance = total / self._count("plan.shipment_count", 1)
        if not isinstance(distance, (int, float)):
            return self.location
        return {**self.location, "coordinates": [0, round(min(180.0, distance / _KM_OF_A_DEGREE), 6)]}

    def _add_product(self) -> None:
        self.product = _stated({key: self.values.get(f"product.{key}") for key in ("category", "brand", "status")})
        of_order = [] if self.kind is CaseKind.DELIVERY else _tags(self.values.get("order.product_tags"))
        if tags := sorted({*_tags(self.values.get("product.tags")), *of_order}):
            self.product["tags"] = tags
        for key in ("price", "velocity_per_day", "weight_grams"):
            if (value := self.values.get(f"product.{key}")) is not None:
                self.product[key] = _number(value)
        for key in ("has_dimensions", "has_barcode", "has_image"):
            if self.values.get(f"product.{key}") is False:
                self.product[key] = False
        if READY_FOR_CHANNEL in self.values:
            ready = self.values[READY_FOR_CHANNEL]
            self.product["ready_for_channel"] = "unknown" if ready is None else ready

    def _add_question(self, given: Keys) -> None:
        locations, skus = self._location_ids(), self._skus()
        match self.kind:
            case CaseKind.SALE:
                given |= {"product": skus[0], "location": locations[0], **self._figures(_UNITS)}
            case CaseKind.ORDER:
                units = max(self._count("order.unit_count", 1), len(skus), len(locations))
                lines = dict.fromkeys(skus[:-1], 1) | {skus[-1]: units - len(skus) + 1}
                given |= {"lines": lines, "stock": self._stock(locations, lines)}
                if (weight := self._count("order.weight_grams", 0)) and weight % units == 0:
                    self.product["weight_grams"] = weight // units
            case CaseKind.DELIVERY:
                self._add_shipment(given, locations[0])
            case CaseKind.LISTING:
                given["listing_of"] = skus[0]
                self.product |= {} if self.requirement is None else wrong_value(self.requirement)
            case CaseKind.EXCEPTION:
                given |= {"location": locations[0]} if locations else {}
                given |= {"product": skus[0]} if self._names("product.") else {}
                if self._has_lines():
                    units = max(self._count("order.unit_count", 1), len(skus))
                    given["lines"] = dict.fromkeys(skus[:-1], 1) | {skus[-1]: units - len(skus) + 1}

    def _add_shipment(self, given: Keys, location_id: str) -> None:
        given["ships_from"] = location_id
        if (units := self._count("order.unit_count", 1)) != 1:
            given["unit_count"] = units
        if (grams := self.values.get("order.weight_grams")) is not None:
            given["weight_grams"] = _number(grams)
        if tags := _tags(self.values.get("order.product_tags")):
            given["product_tags"] = tags

    def _stock(self, locations: list[str], lines: Mapping[str, int]) -> Keys:
        """Enough for the order at one location, or at several of which each has only a part."""
        if len(locations) == 1:
            figures = {sku: self._figures(max(units, _UNITS)) for sku, units in lines.items()}
            return {locations[0]: {sku: _short(stock) for sku, stock in figures.items()}}
        sku = list(lines)[-1]
        last = lines[sku] - len(locations) + 1
        parts: Keys = {name: {sku: 1} for name in locations[:-1]}
        return parts | {locations[-1]: {**lines, sku: last}}

    def _add_companion(self, given: Keys) -> Keys:
        """Adds the stock of a second location; returns its fixture."""
        values = {fact: value for fact, value in self.values.items() if not fact.startswith(("location.", "plan."))}
        suffixes = {**self.suffixes, "locations": f"{self.suffixes.get('locations', '')}-beside"}
        other = CaseBuilder(self.kind, {**values, **(self.companion or {})}, self.now, suffixes=suffixes).case()
        stock, others = given["stock"], other.given["stock"]
        assert isinstance(stock, dict)
        assert isinstance(others, dict)
        given["stock"] = {**others, **stock}
        return other.fixtures["locations"]

    def _add_pickup(self, given: Keys) -> Keys:
        """Makes it an order for pickup at a store without stock, to which others send it. Returns the store."""
        store = f"pickup-store{self.suffixes.get('locations', '')}"
        given |= {"method": "pickup", "pickup_location": store}
        return {store: {"type": "store", "offers_pickup": True}}

    def _figures(self, units: int) -> Keys:
        """The figures of the stock at the location."""
        values = self.values
        available, on_hand = values.get("stock.available"), values.get("stock.on_hand")
        cover, velocity = values.get("stock.days_of_cover"), values.get("product.velocity_per_day")
        if isinstance(cover, (int, float)):
            if available is None and isinstance(velocity, (int, float)):
                available = round(cover * velocity)
            count = units if available is None else float(available) if isinstance(available, (int, float)) else units
            available = 0 if not cover else count
            self.product["velocity_per_day"] = _number(velocity or (count / cover if cover else 1))
        figures: Keys = {}
        if isinstance(on_hand, (int, float)):
            figures["on_hand"] = int(on_hand)
            if isinstance(available, (int, float)) and available < on_hand:
                figures["unavailable"] = int(on_hand - available)
        else:
            figures["available"] = int(available) if isinstance(available, (int, float)) else units
        for key in ("age_minutes", "days_since_count", "oldest_days", "count_confidence", "source"):
            fact = f"stock.{key}"
            if fact in values and values[fact] != DEFAULTS[self.kind].get(fact):
                figures[key] = "unknown" if values[fact] is None else _number(values[fact])
        return figures

    def _add_order(self, given: Keys) -> None:
        values = self.values
        if (method := values.get("order.method")) is not None and method != DEFAULTS[self.kind].get("order.method"):
            given["method"] = method
        if self.kind in (CaseKind.SALE, CaseKind.LISTING):
            return
        for key in ("value", "priority"):
            if (value := values.get(f"order.{key}")) is not None:
                given[key] = _number(value)
        if (tags := values.get("order.tags")) is not None and (tags or self.kind is CaseKind.EXCEPTION):
            given["tags"] = _tags(tags)


def _stated(keys: Mapping[str, object]) -> Keys:
    return {key: value for key, value in keys.items() if value is not None}


def _short(figures: Keys) -> object:
    """Figures as a test writes them: a number of available units alone."""
    return figures["available"] if figures.keys() == {"available"} else figures


def _tags(value: Value | None) -> list[str]:
    return sorted(value) if isinstance(value, frozenset) else []


def _number(value: object) -> object:
    """A whole number without a fraction; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
