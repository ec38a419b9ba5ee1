"""JSON Schema of test suites. Names of fixtures and rules are any words: only `truestock check` knows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from policies.domain.capacity import MAX_CAPACITY, MAX_DAYS_AHEAD
from policies.domain.channel_statuses import PLATFORMS
from policies.domain.model import (
    CANCELLATION_FAULTS,
    CHANNEL_KINDS,
    EXCEPTION_ACTIONS,
    EXCEPTION_KINDS,
    LOCATION_STATUSES,
    LOCATION_TYPES,
    MAX_UNITS,
    MAX_WEIGHT_GRAMS,
    METHODS,
    PLANNED_OUTCOMES,
    PRODUCT_STATUSES,
    Commitment,
)
from policies.explanation import DropReason
from policies.facts.periods import DAYS
from policies.reading.listing_requirements import MAX_PIXELS
from policies.schema.condition_schema import WORD, Schema, choice, closed
from policies.testing.cases import MAX_TESTS, REQUIRED_TEST_KEYS, SHARED_KEYS, SUITE_KEYS, TEST_KEYS
from policies.testing.expectations import (
    AVAILABILITY_KEYS as SALE_ANSWERS,
    DECIDING,
    DELIVERY_KEYS as PARCEL_ANSWERS,
    EXCEPTION_KEYS as EXCEPTION_ANSWERS,
    LISTING_KEYS as LISTING_ANSWERS,
    MAX_REASONS,
    ORDER_KEYS as ORDER_ANSWERS,
    REASONS,
    UNKNOWN,
)
from policies.testing.fixtures import KNOWN_CHANNELS
from policies.testing.givens import AVAILABILITY_KEYS, DELIVERY_KEYS, EXCEPTION_KEYS, LISTING_KEYS, ORDER_KEYS
from policies.testing.listed_products import MAX_SIZE_MM, READY_KEY, SIZES
from policies.testing.stated_values import MAX_ENTRIES

_UNITS: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_UNITS}
_NUMBER: Schema = {"type": "number", "minimum": 0}
_FLAG: Schema = {"type": "boolean"}
_WORDS: Schema = {"type": "array", "items": WORD}
_COUNTRY: Schema = {"type": "string", "pattern": "^[A-Z]{2}$"}
_PLACE: Schema = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_OR_UNKNOWN: Schema = {"anyOf": [_NUMBER, {"const": UNKNOWN}]}
_CLOCK: Schema = {"type": "string", "pattern": "^[0-9]{2}:[0-9]{2}$"}
_HOURS: dict[str, object] = dict.fromkeys(("cut_off", "opens", "closes"), _CLOCK)
_CAPACITY_LIMIT: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_CAPACITY}
_CAPACITY: dict[str, object] = {
    **dict.fromkeys(("orders_per_day", "units_per_day", "orders_per_hour", "units_per_hour"), _CAPACITY_LIMIT),
    "days_ahead": {"type": "integer", "minimum": 0, "maximum": MAX_DAYS_AHEAD},
}
_DAY: Schema = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
_DURATION: Schema = {"type": "string", "pattern": "^[1-9][0-9]{0,5}[mhd]$"}

_RULES: Schema = {"type": "array", "items": WORD, "maxItems": MAX_REASONS}
_REASONS: Mapping[str, Schema] = {
    "because": {**_RULES, "description": "Exactly the rules that fired, in any order; [] if none did."},
    "because_includes": {**_RULES, "minItems": 1, "description": "Rules that fired; others may have fired too."},
}
_ONE_REASON = [{"required": [key]} for key in REASONS]
_DESTINATION = closed({"country": _COUNTRY, "region": WORD, "postal_code": WORD, "coordinates": _PLACE})
_FIGURES: Mapping[str, Schema] = {
    **dict.fromkeys(("available", "on_hand", "unavailable", "held", "allocated"), _UNITS),
    **dict.fromkeys(("age_minutes", "days_since_count", "oldest_days", "count_confidence"), _OR_UNKNOWN),
    "source": WORD,
    "tracked": _FLAG,
}
_STOCK_LEVEL: Schema = {"anyOf": [_UNITS, closed(_FIGURES)]}
_PIXELS: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_PIXELS}
_GRAMS: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_WEIGHT_GRAMS}
_ORDER_FIELDS: Mapping[str, Schema] = {
    "channel": WORD,
    "lines": {"type": "object", "additionalProperties": {**_UNITS, "minimum": 1}},
    "method": choice(METHODS),
    "destination": _DESTINATION,
    "value": _NUMBER,
    "priority": {"type": "integer"},
    "tags": _WORDS,
}


def suite() -> dict[str, object]:
    """The schema of files whose name ends in `_test`."""
    tests = {"type": "array", "items": _test(), "minItems": 1, "maxItems": MAX_TESTS}
    now = {"type": "string", "description": "The current time in the tests, such as 2026-11-27T09:00:00Z."}
    keys: dict[str, object] = {
        "suite": WORD,
        "description": {"type": "string"},
        "rules": {
            "type": "string",
            "pattern": r"^(all|.+\.[yY][aA]?[mM][lL])$",
            "description": "all: the suite tests the rules of the whole folder. Or the name of the rule file beside it "
            "that it tests. Default: the file of the same name.",
        },
        "now": now,
        "locations": _by_name(_location()),
        "products": _by_name({"anyOf": [{"type": "null"}, _product()]}),
        "channels": _by_name({"anyOf": [{"type": "null"}, _channel()]}),
        "tests": tests,
    }
    return closed(_schemas_by_key(SUITE_KEYS, keys), ["suite", "now", "tests"])


def shared_fixtures() -> dict[str, object]:
    """The schema of the file of fixtures that every suite may use."""
    properties = suite()["properties"]
    assert isinstance(properties, dict)
    return closed({key: properties[key] for key in SHARED_KEYS}, [])


def _schemas_by_key(keys: Sequence[str], schemas: Mapping[str, object]) -> dict[str, object]:
    """The reader's keys with their schemas. A key without a schema here may have any value."""
    return {key: schemas.get(key, True) for key in keys}


def _by_name(value: Schema) -> Schema:
    return {"type": "object", "additionalProperties": value}


def _location() -> Schema:
    keys = {
        "type": choice(LOCATION_TYPES),
        "status": choice(LOCATION_STATUSES),
        "tags": _WORDS,
        "country": _COUNTRY,
        "region": WORD,
        "coordinates": _PLACE,
        "offers_pickup": _FLAG,
        "priority": _NUMBER,
        "ships_to": {"type": "array", "items": _COUNTRY, "description": "Default: everywhere. Empty: nowhere."},
        "handling_minutes": _NUMBER,
        "time_zone": WORD,
        **_HOURS,
        "opening_days": {"type": "array", "items": choice(DAYS), "minItems": 1, "maxItems": len(DAYS)},
        "holidays": {"type": "array", "items": _DAY},
        "weekday_hours": {
            "type": "object",
            "properties": dict.fromkeys(DAYS, closed(_HOURS)),
            "additionalProperties": False,
        },
        "capacity": closed(_CAPACITY),
    }
    return closed(keys, ["type"])


def _product() -> Schema:
    keys = {
        "tags": _WORDS,
        "category": WORD,
        "brand": WORD,
        "price": _NUMBER,
        "velocity_per_day": _OR_UNKNOWN,
        "has_dimensions": _FLAG,
        "has_barcode": _FLAG,
        "has_image": _FLAG,
        "status": choice(PRODUCT_STATUSES),
        "weight_grams": _GRAMS,
        READY_KEY: {
            "anyOf": [_FLAG, {"const": UNKNOWN}],
            "description": "Whether it meets all listing requirements. Default: by the rules if the product states any "
            "of the following keys, else true.",
        },
        **dict.fromkeys(("display_name", "style", "barcode"), WORD),
        **{key: {**_UNITS, "minimum": 1, "maximum": MAX_SIZE_MM} for key in SIZES},
        "images": {"type": "array", "items": closed(dict.fromkeys(("width_px", "height_px"), _PIXELS))},
        "attributes": _by_name(WORD),
    }
    return closed(keys)


def _channel() -> Schema:
    keys = {
        "kind": choice(CHANNEL_KINDS),
        "locations": _WORDS,
        "cancellation_headroom": _OR_UNKNOWN,
        "platform": choice(PLATFORMS),
    }
    return closed(keys)


def _test() -> Schema:
    """The question in `given` decides which keys `given` and `expect` have."""
    keys = {"name": WORD, "given": {"type": "object"}, "expect": {"type": "object"}}
    kinds = {"exception": (_exception(), _exception_answer()), "lines": (_order(), _order_answer())}
    kinds["ships_from"] = (_parcel(), _parcel_answer())
    kinds["listing_of"] = (_listing(), _listing_answer())
    of_kind: dict[str, object] = _given_and_expect(_sale(), _sale_answer())
    for key, (given, expect) in reversed(kinds.items()):
        has_key = {"properties": {"given": {"required": [key]}}}
        of_kind = {"if": has_key, "then": _given_and_expect(given, expect), "else": of_kind}
    return closed(_schemas_by_key(TEST_KEYS, keys), REQUIRED_TEST_KEYS, **of_kind)


def _given_and_expect(given: Schema, expect: Schema) -> dict[str, object]:
    return {"properties": {"given": given, "expect": expect}}


def _sale() -> Schema:
    channel = {**WORD, "description": f"One of the suite's channels, or {', '.join(KNOWN_CHANNELS)}."}
    keys = {
        **_FIGURES,
        "channel": channel,
        "product": WORD,
        "location": WORD,
        "stock": _by_name(_STOCK_LEVEL),
        "method": choice(METHODS),
        "destination": _DESTINATION,
    }
    one_or_several = [{"required": ["location"]}, {"required": ["stock"]}]
    return closed(_schemas_by_key(AVAILABILITY_KEYS, keys), ["channel", "product"], oneOf=one_or_several)


_LOCATIONS: Schema = {"type": "array", "items": WORD, "minItems": 1, "maxItems": MAX_ENTRIES}


def _order() -> Schema:
    keys = {
        **_ORDER_FIELDS,
        "stock": _by_name(_by_name(_STOCK_LEVEL)),
        "commitment": choice(tuple(Commitment), "hold: not paid yet. sold: the channel has been paid."),
        "pickup_location": WORD,
        "ship_by": {"type": "string", "description": "When its channel wants it shipped: 2026-12-01T17:00:00Z."},
        "deliver_by": _DAY,
        "outlet": {**_LOCATIONS, "description": "The locations of the outlet that the channel chose."},
        "placements": _by_name(closed({"only": _LOCATIONS, "not": _LOCATIONS, "together": WORD}, minProperties=1)),
        "capacity_used": _by_name(closed(dict.fromkeys(("orders", "units"), _UNITS))),
    }
    return closed(_schemas_by_key(ORDER_KEYS, keys), ["channel", "stock"])


def _parcel() -> Schema:
    keys = {
        **_ORDER_FIELDS,
        "ships_from": WORD,
        "unit_count": {**_UNITS, "minimum": 1},
        "weight_grams": _GRAMS,
        "product_tags": _WORDS,
    }
    return closed(_schemas_by_key(DELIVERY_KEYS, keys), ["channel"])


def _exception() -> Schema:
    of_request = {"fault": choice(CANCELLATION_FAULTS), "work_started": {"type": "boolean"}}
    keys = {**_ORDER_FIELDS, **of_request, "exception": choice(EXCEPTION_KINDS), "location": WORD, "product": WORD}
    return closed(_schemas_by_key(EXCEPTION_KEYS, keys), ["exception"])


def _sale_answer() -> Schema:
    keys = {
        **dict.fromkeys(("sellable", "held_back", "largest_order"), _UNITS),
        **_REASONS,
        "locations": _by_name(_UNITS),
    }
    return closed(_schemas_by_key(SALE_ANSWERS, keys), ["sellable"], oneOf=_ONE_REASON)


def _order_answer() -> Schema:
    shipment = closed({"location": WORD, "lines": _by_name(_UNITS)}, ["location", "lines"])
    keys = {
        "outcome": choice(PLANNED_OUTCOMES),
        **_REASONS,
        "shipments": {"type": "array", "items": shipment},
        "shortages": _by_name(_UNITS),
        "policy": WORD,
        "dropped": _by_name(choice(tuple(DropReason))),
        "sent_to_store": {**_WORDS, "description": "The locations that send units to the store of a pickup order."},
        "shipped_to_shopper": {**_WORDS, "description": "Those that ship what the store lacks to the shopper."},
        "next_best": {**_WORDS, "description": "The locations of the plan that comes after the chosen one."},
        "decided_by": choice(DECIDING, "What decides between the two."),
        "handled_on": _by_name(_DAY),
    }
    return closed(_schemas_by_key(ORDER_ANSWERS, keys), ["outcome"], oneOf=_ONE_REASON)


def _parcel_answer() -> Schema:
    keys = {
        **_REASONS,
        "service": WORD,
        "transit_days": {"anyOf": [_UNITS, {"const": UNKNOWN}]},
        "cost": _OR_UNKNOWN,
        "delivers_on": {"anyOf": [_DAY, {"const": UNKNOWN}]},
    }
    return closed(_schemas_by_key(PARCEL_ANSWERS, keys), oneOf=_ONE_REASON)


def _listing() -> Schema:
    return closed(_schemas_by_key(LISTING_KEYS, {"channel": WORD, "listing_of": WORD}), ["channel"])


def _listing_answer() -> Schema:
    keys = {"ready": _FLAG, **_REASONS, "wrong": {**_WORDS, "minItems": 1, "description": "The attributes that are."}}
    return closed(_schemas_by_key(LISTING_ANSWERS, keys), ["ready"], oneOf=_ONE_REASON)


def _exception_answer() -> Schema:
    names = dict.fromkeys(("owner", "escalate_to"), WORD)
    keys = {**names, "do": choice(EXCEPTION_ACTIONS), "due_in": _DURATION, **_REASONS}
    return closed(_schemas_by_key(EXCEPTION_ANSWERS, keys), ["do", "owner"], oneOf=_ONE_REASON)
