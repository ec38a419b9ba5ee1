"""Reading `from`, `until` and `during`: when a rule is in force, as conditions on facts of time (see `periods`)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from policies.engine.conditions import All, Always, Comparison, Condition, Operator
from policies.facts.fact_table import AT_A_LOCATION, FACTS, RulePlace
from policies.facts.periods import AT_LOCATION, DAYS, WHOLE_DAY, Hours, minutes, moment_fact
from policies.reading.condition_reader import within_engine_bounds
from policies.source.problems import quoted
from policies.source.rule_file import RuleFile, described
from policies.source.yaml_nodes import Node, ScalarNode

TIME_KEYS = ("from", "until", "during")
"""Keys that every rule may have."""

AT_MERCHANT = "merchant"
_CLOCKS = (AT_LOCATION, AT_MERCHANT)

_MOMENT = re.compile(r"2\d{3}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?")
_HOURS = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)")
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00")


def bounded_in_time(
    rule_file: RuleFile, fields: dict[str, Node], found: Condition, rule: str, place: RulePlace
) -> Condition | None:
    """The condition within the bounds among a rule's keys; None where problems were noted."""
    stated = [key for key in TIME_KEYS if key in fields]
    if not stated:
        return found
    moments = {key: _moment(rule_file, fields[key], f"'{key}'") for key in stated if key != "during"}
    _check_order(rule_file, fields, moments, rule)
    hours = _during(rule_file, fields["during"], rule, place) if "during" in stated else None
    if None in moments.values() or ("during" in stated and hours is None):
        return None
    parts = [
        Comparison(moment_fact(at), Operator.IS, (key == "from",)) for key, at in moments.items() if at is not None
    ]
    parts += [Comparison(hours.name, Operator.IS, (True,))] if hours is not None else []
    bounded = All((*parts,) if isinstance(found, Always) else (found, *parts))
    return within_engine_bounds(rule_file, fields[stated[0]], rule, bounded)


def _moment(rule_file: RuleFile, node: Node, what: str) -> datetime | None:
    """A date, which is its midnight, or a date with a time; without an offset by the merchant's clock.

    A time that this clock skips is as long after the change as it would have been; of one that comes twice the first.
    """
    text = node.text if isinstance(node, ScalarNode) else ""
    if not _MOMENT.fullmatch(text):
        help = "write a date, or a date and a time: 2026-11-27, 2026-11-27T09:30 or 2026-11-27T09:30Z."
        rule_file.note(node, "wrong-type", f"{what} is a date or a time, not {described(node)}", help)
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"{what} is {quoted(text)}, which no calendar or no clock has"
        rule_file.note(node, "no-such-time", message, "write a day of the month, and a time from 00:00 to 23:59.")
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(rule_file.time_zone))).astimezone(UTC)


def _check_order(rule_file: RuleFile, fields: dict[str, Node], moments: dict[str, datetime | None], rule: str) -> None:
    start, end = moments.get("from"), moments.get("until")
    if start is not None and end is not None and end <= start:
        message = f"{rule} ends before it begins, so it is never in force"
        help = "'from' is its first moment, 'until' the first after it: a day's end is the next day."
        rule_file.note(fields["until"], "never-in-force", message, help)


def _during(rule_file: RuleFile, node: Node, rule: str, place: RulePlace) -> Hours | None:
    what = f"'during' in {rule}"
    fields = rule_file.fields(node, what, ("days", "hours", "in"))
    if fields is None:
        return None
    days = _days(rule_file, fields["days"]) if "days" in fields else tuple(range(len(DAYS)))
    span = _hours(rule_file, fields["hours"]) if "hours" in fields else (0, WHOLE_DAY)
    zone = _zone(rule_file, fields, rule, place)
    if "days" not in fields and "hours" not in fields:
        help = 'write {days: [sat, sun]}, {hours: "09:00-17:30"} or both.'
        rule_file.note(node, "missing-key", f"{what} names neither days nor hours", help)
        return None
    return Hours(days, *span, zone) if days and span and zone else None


def _days(rule_file: RuleFile, node: Node) -> tuple[int, ...] | None:
    named = [
        rule_file.choice(day, "a day of 'during'", DAYS)
        for day in rule_file.items(node, "'days'", "days: [mon, sat]", at_most=len(DAYS))
    ]
    # In the order of the week, so that equal days are one fact however they are written.
    return None if None in named else tuple(number for number, day in enumerate(DAYS) if day in named)


def _hours(rule_file: RuleFile, node: Node) -> tuple[int, int] | None:
    found = _HOURS.fullmatch(node.text) if isinstance(node, ScalarNode) else None
    if found is None:
        help = 'write two times of a day: "09:00-17:30", or "22:00-02:00" to pass midnight.'
        rule_file.note(node, "wrong-type", f"'hours' are two times, not {described(node)}", help)
        return None
    unreal = [text for text in found.groups() if not _TIME_OF_DAY.fullmatch(text)]
    if unreal or found[1] == "24:00":
        message = f"'hours' has {quoted(unreal[0] if unreal else found[1])}, which no clock shows"
        rule_file.note(node, "no-such-time", message, "write 00:00 to 23:59; 24:00 only as the end.")
        return None
    start, end = minutes(found[1]), minutes(found[2])
    if start == end:
        help = "leave 'hours' out to mean the whole day."
        rule_file.note(node, "never-in-force", "'hours' end when they begin", help)
        return None
    return start, end


def _zone(rule_file: RuleFile, fields: dict[str, Node], rule: str, place: RulePlace) -> str | None:
    """Whose clock counts: the location's where there always is one, else the merchant's, unless the rule says."""
    asked = rule_file.choice(fields["in"], "'in'", _CLOCKS) if "in" in fields else _default_clock(place)
    if asked == AT_LOCATION and place not in FACTS["location.id"].places:
        message = f"{rule} asks for the clock of a location, and none is known in {place.value}"
        rule_file.note(fields["in"], "fact-not-known-here", message, "write 'in: merchant', or leave it out.")
        return None
    return rule_file.time_zone if asked == AT_MERCHANT else asked


def _default_clock(place: RulePlace) -> str:
    return AT_LOCATION if place in AT_A_LOCATION else AT_MERCHANT
