"""Where every unit of a product is: what a channel may sell, and all others by the reason why it may not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from truestock.v1.availability_service_pb2 import Availability, LocationAvailability
from truestock.v1.decision_pb2 import FiredRule

MAY_SELL = "may sell now"
HELD = "held for carts"
SOLD = "sold, not shipped yet"
NOT_SELLABLE = "not sellable: damaged, on display, …"
BEYOND_STOCK = "promised beyond what is there"
ELSEWHERE = "at locations that the channel does not use"

LOCATION_BUFFER, BLOCKED, CHANNEL_BUFFER, UNPUBLISHED = "location buffer", "blocked", "channel buffer", "unpublished"
_RULES = (LOCATION_BUFFER, CHANNEL_BUFFER, UNPUBLISHED, BLOCKED)
_ORDER = (MAY_SELL, HELD, SOLD, *_RULES, NOT_SELLABLE, BEYOND_STOCK, ELSEWHERE)

_HOLDS_BACK, _BLOCKS, _PUBLISHES_ZERO, _CAPS = "held back", "blocked", "published as 0", "capped at"


class DemoError(Exception):
    """A step did not do what it is there to show."""


class SumError(Exception):
    """Figures of one moment that contradict each other."""


def unit_groups(availability: Availability, on_hand: Mapping[str, int]) -> dict[str, int]:
    """Units by where they are or by the rules that keep them; groups without units are left out, but for MAY_SELL.

    `availability` lists its locations; `on_hand` are the units of all locations by id. Raises SumError unless every
    unit on hand is in exactly one group.
    """
    if availability.problem:
        raise SumError(f"{availability.sku}: {availability.problem}")
    units = Counter({MAY_SELL: availability.sellable_count})
    for location in availability.locations:
        _check_on_hand(location, on_hand)
        units.update(_units_at(location, _fired(availability.fired_rules, location.location_id)))
    units.update(_units_kept_by_channel(availability))
    units[ELSEWHERE] += sum(on_hand.values()) - sum(location.on_hand_count for location in availability.locations)
    groups = {name: count for name, count in units.items() if count or name == MAY_SELL}
    check_sum(f"the units of {availability.sku}", groups, sum(on_hand.values()))
    return groups


def in_order(names: Iterable[str]) -> list[str]:
    """The names of groups, each once: what is sold first, then what rules keep."""
    return sorted(dict.fromkeys(names), key=lambda name: next(i for i, x in enumerate(_ORDER) if name.startswith(x)))


def check_sum(what: str, parts: Mapping[str, int], total: int) -> None:
    """Raises SumError, which lists the parts, unless they add up to the total and only BEYOND_STOCK is below 0."""
    shown = ", ".join(f"{name} {count:,}" for name, count in parts.items())
    if sum(parts.values()) != total:
        raise SumError(f"{what} do not add up to {total:,}: {shown} are {sum(parts.values()):,}")
    if any(count < 0 for name, count in parts.items() if name != BEYOND_STOCK):
        raise SumError(f"{what} are below 0: {shown}")


def _check_on_hand(location: LocationAvailability, on_hand: Mapping[str, int]) -> None:
    listed = on_hand.get(location.location_id)
    if listed != location.on_hand_count:
        raise SumError(
            f"{location.location_id} has {location.on_hand_count:,} on hand in CheckAvailability "
            f"and {listed} in ListStockLevels"
        )


def _units_at(location: LocationAvailability, fired: list[FiredRule]) -> dict[str, int]:
    promised = location.held_count + location.allocated_count
    groups = {
        HELD: location.held_count,
        SOLD: location.allocated_count,
        NOT_SELLABLE: location.unavailable_count,
        # More may be promised than is there; then 0 units are available.
        BEYOND_STOCK: min(0, location.on_hand_count - location.unavailable_count - promised),
    }
    if location.reasons:
        blocks = _names(rule for rule in fired if rule.effect.startswith(_BLOCKS)) or "; ".join(location.reasons)
        groups[f"{BLOCKED}: {blocks}"] = location.available_count
    else:
        groups[f"{LOCATION_BUFFER}: {_buffer_rules(fired, location.buffer_count)}"] = location.buffer_count
    return groups


def _units_kept_by_channel(availability: Availability) -> dict[str, int]:
    fired = _fired(availability.fired_rules, "")
    buffer = availability.channel_buffer_count
    limit = _CAPS if availability.sellable_count else _PUBLISHES_ZERO
    return {
        f"{CHANNEL_BUFFER}: {_buffer_rules(fired, buffer)}": buffer,
        f"{UNPUBLISHED}: {_names(rule for rule in fired if limit in rule.effect)}": availability.unpublished_count,
    }


def _fired(rules: Iterable[FiredRule], location_id: str) -> list[FiredRule]:
    return [rule for rule in rules if rule.location_id == location_id]


def _buffer_rules(fired: list[FiredRule], units: int) -> str:
    """The rules that decide a buffer: of several that keep units, those that alone keep as many as the buffer has."""
    keeping = [rule for rule in fired if _HOLDS_BACK in rule.effect]
    deciding = [rule for rule in keeping if rule.effect.startswith(f"{_HOLDS_BACK} {units:,} unit")]
    return _names(deciding or keeping)


def _names(rules: Iterable[FiredRule]) -> str:
    return ", ".join(dict.fromkeys(rule.rule for rule in rules))
