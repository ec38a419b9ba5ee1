"""JSON Schema, draft 2020-12, of rule files: for completion and error marks in editors.

`reading` decides what is valid. It explains problems to planners, and finds those that no schema can find, such as a
duplicate name. Both use the same tables, so that they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from policies.domain.channel_statuses import PLATFORMS
from policies.domain.listing_formats import TEXT_FORMATS
from policies.domain.model import EXCEPTION_ACTIONS, MAX_UNITS
from policies.facts.fact_table import RulePlace
from policies.facts.periods import AT_LOCATION, DAYS
from policies.policy_set import (
    DEADLINES,
    FREE_ATTRIBUTE,
    HOLD_BACK_FORMS,
    IMAGES,
    NUMBER_ATTRIBUTES,
    TEXT_ATTRIBUTES,
    Combine,
    Scope,
)
from policies.reading.delivery_rules import MAX_COST, MAX_TRANSIT_DAYS
from policies.reading.listing_requirements import (
    ATTRIBUTE_NAME,
    IMAGE_BOUNDS,
    MAX_CHOICES,
    MAX_IMAGES,
    MAX_LENGTH,
    MAX_NUMBER,
    MAX_PATTERN,
    MAX_PIXELS,
    NUMBER_KEYS,
)
from policies.reading.owners import MAX_CONTACT_LENGTH, MAX_OWNERS
from policies.reading.routing_rules import (
    MAX_BAND_KM,
    MAX_NAMED_CONDITIONS,
    MAX_POLICIES,
    MAX_POSITION,
    MAX_SAVED_DAYS,
    MAX_SHIPMENTS,
    MAX_STEPS,
    MAY_USE,
    MIN_BAND_KM,
    OTHERWISE,
    SAVES_DAYS,
    SPLIT_ONLY_IF,
    STEPS,
)
from policies.reading.stock_rules import MAX_DAYS, MAX_RULES, SERVICE_LEVELS
from policies.reading.time_bounds import AT_MERCHANT, TIME_KEYS
from policies.schema.condition_schema import WORD, Schema, choice, closed, condition, conditions, definition
from policies.schema.suite_schema import shared_fixtures, suite
from policies.source.rule_file import MAX_NAME_LENGTH, MAX_TEXT_LENGTH

DRAFT = "https://json-schema.org/draft/2020-12/schema"

NAME: Schema = {
    "type": "string",
    "pattern": "^[a-z][a-z0-9-]*$",
    "maxLength": MAX_NAME_LENGTH,
    "description": "Lower-case letters, digits and hyphens. Answers and tests refer to it.",
}
DESCRIPTION: Schema = {"type": "string", "description": "A note for readers; it has no effect."}
_CONTACT = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_CONTACT_LENGTH,
    "description": "How to reach the owner: a mail address, a phone number or a channel of a chat.",
}
_OWNER = closed({"name": NAME, "description": DESCRIPTION, "contact": _CONTACT}, ["name", "contact"])
_OWNERS = {
    "owners": {
        "type": "array",
        "items": _OWNER,
        "minItems": 1,
        "maxItems": MAX_OWNERS,
        "description": "Where any file declares owners, exception rules name no others.",
    }
}
_SETTINGS = {
    "nearest": closed({"band_km": {"type": "number", "minimum": MIN_BAND_KM, "maximum": MAX_BAND_KM}}, ["band_km"]),
    "prefer": closed({"when": condition(RulePlace.CANDIDATE)}, ["when"]),
}
_MOMENT = r"^2\d{3}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?$"
_DAYS = {"type": "array", "items": choice(DAYS), "minItems": 1, "maxItems": len(DAYS)}
_TIME = {
    "from": {
        "type": "string",
        "pattern": _MOMENT,
        "description": "In force from this time on, such as 2026-11-27 or 2026-11-27T09:30.",
    },
    "until": {"type": "string", "pattern": _MOMENT, "description": "In force until just before this time."},
    "during": closed(
        {
            "days": _DAYS,
            "hours": {
                "type": "string",
                "pattern": r"^\d\d:\d\d-\d\d:\d\d$",
                "description": 'Such as "09:00-17:30", or "22:00-02:00" to pass midnight.',
            },
            "in": choice([AT_LOCATION, AT_MERCHANT], "Whose time zone the days and hours are in."),
        },
        anyOf=[{"required": ["days"]}, {"required": ["hours"]}],
        description="In force only on these days and during these hours.",
    ),
}


def exposure() -> Schema:
    """The schema of files with `kind: exposure`."""
    reason = {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_TEXT_LENGTH,
        "description": "The reason that answers show.",
    }
    restriction = {**reason, "description": "Not even a sold order gets it; the reason that answers show."}
    properties = {"when": _when(RulePlace.EXPOSURE), "block": reason, "restrict": restriction}
    one_effect = [{"required": ["block"]}, {"required": ["restrict"]}]
    rules = _rules(_rule(properties, [], oneOf=one_effect))
    return _file("exposure", rules, [RulePlace.EXPOSURE], ["name", "rules"])


def buffer() -> Schema:
    """The schema of files with `kind: buffer`. The scope decides which keys their rules may have."""
    properties = {
        "scope": choice(
            tuple(Scope), "location: held back at each location. channel: held back from the channel's total."
        ),
        "combine": choice(
            tuple(Combine), "How several rules of this file that fire together combine. Default: largest."
        ),
        "rules": {"type": "array"},
    }
    places = [RulePlace.LOCATION_BUFFER, RulePlace.CHANNEL_BUFFER]
    whole = _file("buffer", properties, places, ["name", "scope", "rules"])
    is_channel = {"properties": {"scope": {"const": Scope.CHANNEL.value}}, "required": ["scope"]}
    of_location, of_channel = ({"properties": _rules(_buffer_rule(scope))} for scope in (Scope.LOCATION, Scope.CHANNEL))
    return {**whole, "if": is_channel, "then": of_channel, "else": of_location}


def routing() -> Schema:
    """The schema of files with `kind: routing`."""
    policies = {"type": "array", "items": _policy(), "minItems": 1, "maxItems": MAX_POLICIES}
    places = [RulePlace.APPLIES_TO, RulePlace.CANDIDATE, RulePlace.REVIEW, RulePlace.SPLIT]
    whole = _file("routing", {"policies": policies}, places, ["policies"])
    saves_days = {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_SAVED_DAYS,
        "description": "Days by which the split must arrive before the one location that would ship instead.",
    }
    split = {**conditions(RulePlace.SPLIT)}
    split["properties"] = {SAVES_DAYS: saves_days, **cast(Schema, split["properties"])}
    definitions = {**cast(Schema, whole["$defs"]), SPLIT_ONLY_IF: split}
    return {**whole, "$defs": definitions}


def delivery() -> Schema:
    """The schema of files with `kind: delivery`."""
    amount = {"type": "number", "minimum": 0, "maximum": MAX_COST, "description": "In the merchant's currency."}
    properties = {
        "position": _position("rules"),
        "when": _when(RulePlace.DELIVERY),
        "service": NAME,
        "transit_days": {"type": "integer", "minimum": 0, "maximum": MAX_TRANSIT_DAYS},
        "cost": closed(dict.fromkeys(("per_shipment", "per_unit", "per_kg"), amount), minProperties=1),
        "rates": {
            "type": "string",
            "pattern": r"^[^/]+\.[cC][sS][vV]$",
            "description": "The CSV file in the same folder with the cost of each zone, instead of 'cost'.",
        },
        "ships_on": _DAYS,
    }
    has_effect = [{"required": [key]} for key in ("transit_days", "cost", "rates")]
    rules = _rules(_rule(properties, ["position", "service"], anyOf=has_effect))
    return _file("delivery", rules, [RulePlace.DELIVERY], ["rules"])


def exception() -> Schema:
    """The schema of files with `kind: exception`."""
    properties = {
        "position": _position("rules"),
        "when": _when(RulePlace.EXCEPTION),
        "do": choice(EXCEPTION_ACTIONS),
        "owner": NAME,
        "due_in": {"type": "string", "pattern": "^[1-9][0-9]{0,5}[mhd]$", "description": "Such as 30m, 4h or 1d."},
        "escalate_to": NAME,
    }
    rules = _rules(_rule(properties, ["position", "do", "owner", "due_in"]))
    schema = _file("exception", {**_OWNERS, **rules}, [RulePlace.EXCEPTION], [])
    return {**schema, "anyOf": [{"required": ["rules"]}, {"required": ["owners"]}]}


def listing_requirements() -> Schema:
    """The schema of files with `kind: listing_requirements`. The attribute decides which keys a rule has."""
    length, pixels = _from_one(MAX_LENGTH), _from_one(MAX_PIXELS)
    texts = {
        "min_length": length,
        "max_length": length,
        "pattern": {"type": "string", "minLength": 1, "maxLength": MAX_PATTERN, "description": "Of the whole text."},
        "one_of": {"type": "array", "items": WORD, "minItems": 1, "maxItems": MAX_CHOICES},
        "format": choice(TEXT_FORMATS, "gtin: 8, 12, 13 or 14 digits of an EAN or UPC, with the right last digit."),
    }
    own = {"type": "string", "pattern": f"^{FREE_ATTRIBUTE.replace('.', '[.]')}{ATTRIBUTE_NAME}$"}
    amount = {"type": "number", "minimum": 0, "maximum": MAX_NUMBER}
    images = {
        key: {**(_from_one(MAX_IMAGES) if key.endswith("count") else pixels), "description": _IMAGE_HELP[key]}
        for key in IMAGE_BOUNDS
    }
    kinds = (
        ({"anyOf": [choice(TEXT_ATTRIBUTES), own]}, texts),
        (choice(NUMBER_ATTRIBUTES), dict.fromkeys(NUMBER_KEYS, amount)),
        ({"const": IMAGES}, images),
    )
    rules = _rules({"anyOf": [_requirement(attribute, demand) for attribute, demand in kinds]})
    properties = {
        "platform": choice(PLATFORMS, "The platform of the channels whose listings need this."),
        "owner": {**NAME, "description": "Who owns the product data, unless a rule names another."},
        **rules,
    }
    return _file("listing_requirements", properties, [RulePlace.LISTING], ["name", "platform", "owner", "rules"])


_IMAGE_HELP = {
    "min_count": "At least so many images.",
    "max_count": "At most so many images.",
    "min_side_px": "Width and height of each image are at least this.",
    "max_side_px": "Width and height of each image are at most this.",
    "min_longest_side_px": "The longer of width and height of each image is at least this.",
}


def _requirement(attribute: Schema, demand: Mapping[str, object]) -> Schema:
    keys = {
        "name": NAME,
        "description": DESCRIPTION,
        "when": {**condition(RulePlace.LISTING), "description": "The products that it is for. Default: all."},
        "attribute": attribute,
        "required": {
            "type": "boolean",
            "description": "false: only a stated value must be as demanded. Default: true.",
        },
        "owner": NAME,
        **demand,
    }
    return closed(keys, ["name", "attribute"])


def _from_one(most: int) -> Schema:
    return {"type": "integer", "minimum": 1, "maximum": most}


def merchant() -> Schema:
    """The schema of the file with `kind: merchant`."""
    keys = {
        "kind": {"const": "merchant"},
        "description": DESCRIPTION,
        "time_zone": {"type": "string", "minLength": 3},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217, such as USD."},
    }
    return {"$schema": DRAFT, "title": "Settings of the whole folder", **closed(keys, ["kind", "time_zone"])}


def _suite() -> Schema:
    return {"$schema": DRAFT, "title": "Tests of Truestock rules", **suite()}


def _shared_fixtures() -> Schema:
    return {"$schema": DRAFT, "title": "Fixtures that every suite may use", **shared_fixtures()}


SCHEMAS: Mapping[str, Callable[[], Schema]] = {
    "exposure": exposure,
    "buffer": buffer,
    "routing": routing,
    "delivery": delivery,
    "exception": exception,
    "listing_requirements": listing_requirements,
    "merchant": merchant,
    "rules_test": _suite,
    "fixtures_test": _shared_fixtures,
}
"""The schemas by file name, without the ending `.schema.json`."""


def _file(
    kind: str, properties: Mapping[str, object], places: list[RulePlace], required: list[str]
) -> dict[str, object]:
    """A rule file, with definitions of the conditions in `places`."""
    keys = {"kind": {"const": kind}, "name": NAME, "description": DESCRIPTION, **properties}
    defined = {definition(place): conditions(place) for place in places}
    title = f"Truestock rules of the kind '{kind}'"
    return {"$schema": DRAFT, "title": title, **closed(keys, ["kind", *required]), "$defs": defined}


def _rules(rule: Schema) -> dict[str, object]:
    return {"rules": {"type": "array", "items": rule, "minItems": 1, "maxItems": MAX_RULES}}


def _rule(properties: Mapping[str, object], required: list[str], **more: object) -> Schema:
    keys = {"name": NAME, "description": DESCRIPTION, **{key: _TIME[key] for key in TIME_KEYS}, **properties}
    return closed(keys, ["name", *required], **more)


def _when(place: RulePlace) -> Schema:
    return {**condition(place), "description": "When the rule applies. Default: always."}


def _buffer_rule(scope: Scope) -> Schema:
    """Rules of a location only hold units back. Rules of a channel's total may also have a cut-off and a cap."""
    if scope is Scope.LOCATION:
        keys = {"when": _when(RulePlace.LOCATION_BUFFER), "hold_back": _hold_back(scope)}
        return _rule(keys, ["hold_back"])
    effects = {
        "hold_back": _hold_back(scope),
        "publish_zero_at_or_below": _units("If this many units or fewer remain, 0 is published to the channel."),
        "cap": _units("The most units that are published to the channel."),
    }
    at_least_one = [{"required": [effect]} for effect in effects]
    return _rule({"when": _when(RulePlace.CHANNEL_BUFFER), **effects}, [], anyOf=at_least_one)


def _hold_back(scope: Scope) -> Schema:
    days = {"type": "number", "minimum": 0, "maximum": MAX_DAYS}
    duration = "^[1-9][0-9]{0,5}[mhd]$" if scope is Scope.CHANNEL else "^([1-9][0-9]{0,5}[mhd]|stock_age)$"
    low, high = SERVICE_LEVELS
    sales = {
        "during": {"type": "string", "pattern": duration, "description": "30m, 2h, 1d or, for a location, stock_age."},
        "service_level": {
            "type": "number",
            "minimum": low,
            "maximum": high,
            "description": "The share of cases in which the buffer suffices; 0.95: in 19 of 20.",
        },
    }
    forms: dict[str, object] = {
        "units": _units("A fixed number of units."),
        "percent": {
            "type": "number",
            "minimum": 0,
            "maximum": 100,
            "description": "Of the available units, rounded up.",
        },
        "days_of_cover": {
            "anyOf": [days, closed({"days": days}, ["days"])],
            "description": "The units that sell in this many days.",
        },
        "expected_sales": closed(
            sales, list(sales), description="The most units that are expected to sell in this time."
        ),
    }
    bounds = {"minimum": _units("Never fewer units than this."), "maximum": _units("Never more units than this.")}
    one_form = [{"required": [form]} for form in HOLD_BACK_FORMS]
    return closed({**{form: forms[form] for form in HOLD_BACK_FORMS}, **bounds}, oneOf=one_form)


def _units(description: str) -> Schema:
    return {"type": "integer", "minimum": 0, "maximum": MAX_UNITS, "description": description}


def _position(rules: str) -> Schema:
    help = f"Of the {rules} that apply, the one with the lowest position decides. No two in any file may have the same."
    return {"type": "integer", "minimum": 0, "maximum": MAX_POSITION, "description": help}


def _policy() -> Schema:
    properties = {
        "position": _position("policies"),
        "applies_to": {
            **condition(RulePlace.APPLIES_TO),
            "description": "The orders that the policy is for. Default: all.",
        },
        "only": {**condition(RulePlace.CANDIDATE), "description": "Only locations that meet this condition are used."},
        "exclude": _named_conditions(RulePlace.CANDIDATE, "Locations that meet one of these conditions are not used."),
        "rank": {"type": "array", "items": _step(), "minItems": 1, "maxItems": MAX_STEPS},
        "max_shipments": {"type": "integer", "minimum": 1, "maximum": MAX_SHIPMENTS},
        "min_split_value": {
            "type": "number",
            "minimum": 0,
            "description": "Orders below this value get one shipment only.",
        },
        SPLIT_ONLY_IF: {
            "$ref": f"#/$defs/{SPLIT_ONLY_IF}",
            "description": "An order is split over several locations only if this is true of the split.",
        },
        "ship_complete": {"type": "boolean", "description": "true: allocate the whole order or nothing."},
        "ship_to_store": {
            "type": "boolean",
            "description": "true: other locations send what the chosen store of a pickup order lacks to the store.",
        },
        "ship_rest": {
            "type": "boolean",
            "description": "true: other locations ship what the chosen store of a pickup order lacks to the shopper.",
        },
        "sold_may_use": {"type": "array", "items": choice(MAY_USE), "minItems": 1, "maxItems": len(MAY_USE)},
        "must_meet": {
            "type": "array",
            "items": choice(DEADLINES),
            "minItems": 1,
            "maxItems": len(DEADLINES),
            "description": "Dates of an order that every location must keep; one that cannot is not used.",
        },
        "review": _named_conditions(
            RulePlace.REVIEW, "A plan that meets one of these conditions needs a review by a person."
        ),
        "otherwise": choice(
            OTHERWISE, "What happens if an order cannot be filled completely. next: try the next policy."
        ),
    }
    return _rule(properties, ["position", "rank"])


def _named_conditions(place: RulePlace, description: str) -> Schema:
    rule = _rule({"when": _when(place)}, [])
    return {"type": "array", "items": rule, "minItems": 1, "maxItems": MAX_NAMED_CONDITIONS, "description": description}


def _step() -> Schema:
    """A step as a word, or with its settings, which `prefer` always needs."""
    bare = choice([step for step in STEPS if step != "prefer"], "What makes one plan better than another.")
    settings = closed(_SETTINGS, minProperties=1, maxProperties=1)
    return {"anyOf": [bare, settings]}
