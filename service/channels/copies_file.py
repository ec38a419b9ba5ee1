"""Reads the part `copies` of an account: which orders of a shop another connector made, and how they name theirs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

from policies.source.rule_file import RuleFile
from policies.source.yaml_nodes import Node
from service.channels.copies import ORDER_ID, Copies, CopyMark, CopyPlace

MOST_CHANNELS = 20
MOST_SOURCES = 20
MOST_MARKS = 10
LONGEST_PATTERN = 200

Value = TypeVar("Value")

_KEYS = ("of", "source_names", "order_id")
_CHANNEL_ID = re.compile("[a-z0-9_-]{1,64}")


def read_copies(file: RuleFile, node: Node) -> tuple[Copies, ...]:
    """The copies that an account states; mistakes are noted in `file`."""
    entries = file.items(node, "'copies'", at_most=MOST_CHANNELS)
    return tuple(copies for entry in entries if (copies := _copies(file, entry)))


def _copies(file: RuleFile, node: Node) -> Copies | None:
    fields = file.fields(node, "an entry of 'copies'", _KEYS, _KEYS)
    if fields is None or not set(_KEYS) <= set(fields):
        return None
    channel_id = file.text(fields["of"], "'of'")
    if channel_id is not None and not _CHANNEL_ID.fullmatch(channel_id):
        file.note(fields["of"], "bad-name", f"'of' cannot be '{channel_id[:60]}'", "write the id of a channel.")
    sources = file.items(fields["source_names"], "'source_names'", at_most=MOST_SOURCES)
    names = [file.text(source, "a source name", "write it in quotes.") for source in sources]
    marks = file.items(fields["order_id"], "'order_id'", at_most=MOST_MARKS)
    return Copies(channel_id or "", frozenset(_present(names)), tuple(_present([_mark(file, each) for each in marks])))


def _mark(file: RuleFile, node: Node) -> CopyMark | None:
    fields = file.fields(node, "an entry of 'order_id'", ("in", "attribute", "like"), ("in",))
    if fields is None or "in" not in fields:
        return None
    word = file.choice(fields["in"], "'in'", tuple(CopyPlace))
    pattern = file.text(fields["like"], "'like'", at_most=LONGEST_PATTERN) if "like" in fields else ORDER_ID
    attribute = file.text(fields["attribute"], "'attribute'") if "attribute" in fields else ""
    if word is None or pattern is None or attribute is None:
        return None
    place = CopyPlace(word)
    if (place is CopyPlace.ATTRIBUTE) != bool(attribute):
        help = "write {in: attribute, attribute: NAME}; other places have no 'attribute'."
        file.note(node, "wrong-keys", "'attribute' goes with 'in: attribute', and only with it", help)
    if pattern.count(ORDER_ID) != 1:
        message = f"'like' must have {ORDER_ID} once"
        file.note(fields["like"], "wrong-type", message, f'write it such as "TikTok order {ORDER_ID}".')
    elif place is CopyPlace.NOTE and pattern == ORDER_ID:
        help = f"add 'like: \"TikTok order {ORDER_ID}\"': the text that the connector writes before the id."
        file.note(node, "missing-key", "any word of a note could be an id", help)
    return CopyMark(place, pattern, attribute)


def _present(values: Iterable[Value | None]) -> list[Value]:
    return [value for value in values if value is not None]
