"""Reads the merchant file, which has the settings of the whole folder: the merchant's time zone and currency."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from zoneinfo import ZoneInfo, available_timezones

from policies.reading.stock_rules import check_description
from policies.source.problems import Source, quoted
from policies.source.rule_file import RuleFile, suggestion
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode, UnreadableFile, parse

UTC = "UTC"
"""The time zone of a folder without a merchant file."""

_ZONE = re.compile("UTC|[A-Za-z_]+(/[A-Za-z0-9_+-]+)+")
# A single word, such as 'EST' or 'localtime', is a fixed offset or the time zone of the machine.
_CURRENCY = re.compile("[A-Z]{3}")
_KEYS = ("kind", "description", "time_zone", "currency")


@dataclass(frozen=True, slots=True)
class MerchantSettings:
    """What a merchant file states: a time zone, None if it cannot be read, and an ISO 4217 code, empty if none."""

    time_zone: str | None = None
    currency: str = ""


def merchant_settings(rule_file: RuleFile, node: Node, used: dict[str, Source]) -> MerchantSettings:
    """The settings of a merchant file. `used` has the merchant file that was read before, if any."""
    fields = rule_file.fields(node, "the merchant file", _KEYS, ("time_zone",))
    if fields is None:
        return MerchantSettings()
    check_description(rule_file, fields)
    if "merchant" in used:
        message = f"there is already a merchant file: {used['merchant']}"
        rule_file.note(node, "duplicate-settings", message, "keep only one file with 'kind: merchant'.")
    used.setdefault("merchant", rule_file.source(node))
    return MerchantSettings(
        read_time_zone(rule_file, fields["time_zone"], "'time_zone'") if "time_zone" in fields else None,
        _currency(rule_file, fields["currency"]) if "currency" in fields else "",
    )


def stated_time_zone(files: Iterable[tuple[str, bytes]]) -> str:
    """The time zone of the first merchant file; UTC if there is none, or none that can be read.

    The other files are read with this time zone, so it is found before them.
    """
    for path, content in files:
        # Skips files that cannot contain the word 'merchant', not even with escaped letters.
        if b"merchant" in content or b"\\" in content:
            zone = _zone_in(path, content)
            if zone is not None:
                return zone
    return UTC


def _zone_in(path: str, content: bytes) -> str | None:
    try:
        node, _ = parse(path, content)
    except UnreadableFile:
        return None
    kind = node.entries.get("kind") if isinstance(node, MappingNode) else None
    is_merchant = kind is not None and isinstance(kind[1], ScalarNode) and kind[1].text == "merchant"
    return merchant_settings(RuleFile(path), node, {}).time_zone if is_merchant else None


def read_time_zone(rule_file: RuleFile, node: Node, what: str) -> str | None:
    """The name of a time zone."""
    name = rule_file.text(node, what)
    if name is None or is_time_zone(name):
        return name
    similar = suggestion(name, filter(_ZONE.fullmatch, available_timezones()))
    help = f"{similar}Write a region and a city such as America/Chicago, or UTC."
    rule_file.note(node, "unknown-time-zone", f"there is no time zone {quoted(name)}", help)
    return None


def _currency(rule_file: RuleFile, node: Node) -> str:
    code = rule_file.text(node, "'currency'")
    if code is None or _CURRENCY.fullmatch(code):
        return code or ""
    similar = f"did you mean '{code.upper()}'? " if _CURRENCY.fullmatch(code.upper()) else ""
    help = f"{similar}Write the three letters of ISO 4217, such as USD."
    rule_file.note(node, "unknown-currency", f"{quoted(code)} is not the code of a currency", help)
    return ""


def is_time_zone(name: str) -> bool:
    """Whether the time zone database has this name, and it means the same on every machine."""
    if not _ZONE.fullmatch(name):
        return False
    try:
        ZoneInfo(name)
    # OSError is for the name of a folder of zones, such as 'America/Indiana'.
    except (LookupError, ValueError, OSError):
        return False
    return True
