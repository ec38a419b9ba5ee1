"""Reads `from`, `until` and `during`: when a rule is in force, as conditions on facts about time (see `periods`)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from policies.engine.conditions import All, Always, Comparison, Condition, Operator
from policies.facts.fact_table import AT_A_LOCATION, FACTS, RulePlace
from policies.facts.periods import AT_LOCATION, DAYS, WHOLE_DAY, Hours, minutes, moment_fact
from policies.reading.condition_reader import within_engine_bounds
from policies.source import likely_forms
from policies.source.problems import quoted
from policies.source.rule_file import RuleFile, described
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode

TIME_KEYS = ("from", "until", "during")
"""Keys that every kind of rule may have."""

AT_MERCHANT = "merchant"
_CLOCKS = (AT_LOCATION, AT_MERCHANT)
_HOURS_HELP = 'two times of a day: "09:00-17:30", or "22:00-02:00" to pass midnight'

_MOMENT = re.compile(r"2\d{3}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?")
_HOURS = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)")
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00")


def bounded_in_time(
    rule_file: RuleFile, fields: dict[str, Node], condition: Condition, rule: str, place: RulePlace
) -> Condition | None:
    """The condition combined with the rule's bounds in time; None if the bounds have problems."""
    stated = [key for key in TIME_KEYS if key in fields]
    if not stated:
        return condition
    moments = {key: _moment(rule_file, fields[key], f"'{key}'") for key in stated if key != "during"}
    _check_order(rule_file, fields, moments, rule)
    hours = _during(rule_file, fields["during"], rule, place) if "during" in stated else None
    if None in moments.values() or ("during" in stated and hours is None):
        return None
    parts = [
        Comparison(moment_fact(at), Operator.IS, (key == "from",)) for key, at in moments.items() if at is not None
    ]
    parts += [Comparison(hours.name, Operator.IS, (True,))] if hours is not None else []
    bounded = All((*parts,) if isinstance(condition, Always) else (condition, *parts))
    return within_engine_bounds(rule_file, fields[stated[0]], rule, bounded)


def _moment(rule_file: RuleFile, node: Node, what: str) -> datetime | None:
    """A date, which means its midnight, or a date with a time. Without a UTC offset it is in the merchant's time zone.

    If the clock change skips a time, it is that much later (02:30 becomes 03:30); if a time occurs twice, it is the
    first.
    """
    text = node.text if isinstance(node, ScalarNode) else ""
    if not _MOMENT.fullmatch(text):
        likely = likely_forms.moment(text)
        help = "write a date, or a date and a time: 2026-11-27, 2026-11-27T09:30 or 2026-11-27T09:30Z."
        help = f"write {likely}." if likely else help
        rule_file.note(node, "wrong-type", f"{what} must be a date or a time, not {described(node)}", help)
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"{what} is {quoted(text)}, which does not exist"
        rule_file.note(node, "no-such-time", message, "write an existing date, and a time from 00:00 to 23:59.")
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(rule_file.time_zone))).astimezone(UTC)


def _check_order(rule_file: RuleFile, fields: dict[str, Node], moments: dict[str, datetime | None], rule: str) -> None:
    start, end = moments.get("from"), moments.get("until")
    if start is not None and end is not None and end <= start:
        message = f"'until' is not after 'from', so {rule} is never in force"
        help = "a rule is in force until just before 'until'; to include a whole last day, write the day after it."
        rule_file.note(fields["until"], "never-in-force", message, help)


def _during(rule_file: RuleFile, node: Node, rule: str, place: RulePlace) -> Hours | None:
    what = f"'during' in {rule}"
    fields = rule_file.fields(node, what, ("days", "hours", "in"), form=_likely_during(node))
    if fields is None:
        return None
    days = _days(rule_file, fields["days"]) if "days" in fields else tuple(range(len(DAYS)))
    span = _hours(rule_file, fields["hours"]) if "hours" in fields else (0, WHOLE_DAY)
    zone = _zone(rule_file, fields, rule, place)
    if "days" not in fields and "hours" not in fields:
        help = 'write {days: [sat, sun]}, {hours: "09:00-17:30"} or both.'
        rule_file.note(node, "missing-key", f"{what} has neither 'days' nor 'hours'", help)
        return None
    return Hours(days, *span, zone) if days and span and zone else None


def _days(rule_file: RuleFile, node: Node) -> tuple[int, ...] | None:
    named = [
        rule_file.choice(day, "a day of 'during'", DAYS)
        for day in rule_file.items(node, "'days'", "days: [mon, sat]", at_most=len(DAYS), form=likely_forms.days)
    ]
    # In the order of the week, so that the same days are the same fact, in whatever order they are written.
    return None if None in named else tuple(number for number, day in enumerate(DAYS) if day in named)


def _hours(rule_file: RuleFile, node: Node) -> tuple[int, int] | None:
    match = _HOURS.fullmatch(node.text) if isinstance(node, ScalarNode) else None
    if match is None:
        help = f"write {_likely_hours(node) or _HOURS_HELP}."
        rule_file.note(node, "wrong-type", f"'hours' must be two times, not {described(node)}", help)
        return None
    invalid = [text for text in match.groups() if not _TIME_OF_DAY.fullmatch(text)]
    if invalid or match[1] == "24:00":
        message = f"'hours' has {quoted(invalid[0] if invalid else match[1])}, which is not a valid time here"
        rule_file.note(node, "no-such-time", message, "write 00:00 to 23:59; 24:00 is valid only as the end.")
        return None
    start, end = minutes(match[1]), minutes(match[2])
    if start == end:
        help = "remove 'hours' if the rule applies all day."
        rule_file.note(node, "never-in-force", "'hours' start and end at the same time", help)
        return None
    return start, end


def _likely_during(node: Node) -> str:
    """The days or hours that a text or a list was meant to be."""
    text = node.text if isinstance(node, ScalarNode) else ""
    if isinstance(node, SequenceNode):
        text = ", ".join(item.text for item in node.items if isinstance(item, ScalarNode))
    days, hours = likely_forms.days(text), likely_forms.hours(text)
    if days or hours:
        return f"{{days: {days}}}" if days else f"{{hours: {hours}}}"
    return '{days: [sat, sun]} or {hours: "09:00-17:30"}'


def _likely_hours(node: Node) -> str | None:
    """The hours that a text, or a list or mapping of two times, was meant to be."""
    parts: list[Node] = [node]
    if isinstance(node, SequenceNode):
        parts = node.items
    elif isinstance(node, MappingNode):
        parts = [value for _, value in node.entries.values()]
    return likely_forms.hours("-".join(part.text for part in parts if isinstance(part, ScalarNode)))


def _zone(rule_file: RuleFile, fields: dict[str, Node], rule: str, place: RulePlace) -> str | None:
    """The time zone of the hours: as in the rule, else the location's where it is always known, else the merchant's."""
    clock = rule_file.choice(fields["in"], "'in'", _CLOCKS) if "in" in fields else _default_clock(place)
    if clock == AT_LOCATION and place not in FACTS["location.id"].places:
        message = f"{rule} uses the clock of a location, but no location is known in {place.value}"
        rule_file.note(fields["in"], "fact-not-known-here", message, "write 'in: merchant', or remove 'in'.")
        return None
    return rule_file.time_zone if clock == AT_MERCHANT else clock


def _default_clock(place: RulePlace) -> str:
    return AT_LOCATION if place in AT_A_LOCATION else AT_MERCHANT
