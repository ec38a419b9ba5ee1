"""Copies: orders that a connector of another channel makes in a shop, and where they say of which order. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

ORDER_ID = "{order_id}"
"""Stands in a pattern for the id of the original."""
ORIGINAL_WITHIN = timedelta(hours=2)
"""How long after a copy its original may come before a person is asked: as long as an outage may last unnoticed."""
_ID = "([A-Za-z0-9_-]{4,64})"


class CopyPlace(StrEnum):
    """Where a copy may say of which order it is."""

    NAME = "name"
    NOTE = "note"
    ATTRIBUTE = "attribute"
    SOURCE_IDENTIFIER = "source_identifier"


@dataclass(frozen=True, slots=True)
class Original:
    """The order that a copy is of; `order_id` is empty where the copy does not say it."""

    channel_id: str
    order_id: str


@dataclass(frozen=True, slots=True)
class OrderTexts:
    """What an order of a shop says about where it is from."""

    source_name: str
    by_place: Mapping[CopyPlace, str]
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CopyMark:
    """One place of an original's id, and the text around it. A note is searched; elsewhere the whole text must fit."""

    place: CopyPlace
    pattern: str = ORDER_ID
    attribute: str = ""

    def find(self, texts: OrderTexts) -> str:
        """The id that the place has; empty if it has none."""
        is_attribute = self.place is CopyPlace.ATTRIBUTE
        text = texts.attributes.get(self.attribute, "") if is_attribute else texts.by_place.get(self.place, "")
        before, _, after = self.pattern.partition(ORDER_ID)
        form = re.compile(f"{re.escape(before)}{_ID}{re.escape(after)}", re.IGNORECASE)
        found = form.search(text) if self.place is CopyPlace.NOTE else form.fullmatch(text.strip())
        return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class Copies:
    """The orders that a connector makes: all those with one of these sources are copies of a channel's orders."""

    channel_id: str
    """The channel of the originals."""
    source_names: frozenset[str]
    marks: tuple[CopyMark, ...]

    def original(self, texts: OrderTexts) -> Original | None:
        """The original of an order; None if it is no copy. The first mark with an id counts."""
        if texts.source_name not in self.source_names:
            return None
        ids = (mark.find(texts) for mark in self.marks)
        return Original(self.channel_id, next((found for found in ids if found), ""))
