"""Declarations of feeds: requests checked and turned into rows, and rows turned into messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from policies.stock.feeds import FEED_BASES, FEED_ROLES, OPEN_ORDERS, OWN_SOURCES
from service import limits
from service.rpc.validation import Fields
from truestock.v1 import catalog_service_pb2 as catalog_pb

Row = dict[str, Any]

ROLE = dict(enumerate(FEED_ROLES, start=1))
BASIS = dict(enumerate(FEED_BASES, start=1))
OPEN_ORDER = dict(enumerate(OPEN_ORDERS, start=1))
"""Words of the database by enum number of the API; 0 is unspecified."""


def feed_rows(feeds: Sequence[catalog_pb.Feed]) -> list[Row]:
    """Raises InvalidFields."""
    fields = Fields()
    rows: list[Row] = []
    first_index: dict[str, int] = {}
    if fields.size("feeds", feeds, 1, limits.UPSERTS):
        for index, message in enumerate(feeds):
            if message.source in first_index:
                fields.wrong(
                    f"feeds[{index}].source",
                    f"'{message.source}' is also feeds[{first_index[message.source]}]; declare each source once",
                )
            first_index.setdefault(message.source, index)
            rows.append(_feed(fields, f"feeds[{index}]", message))
    fields.finish()
    return rows


def feed_message(row: asyncpg.Record) -> catalog_pb.Feed:
    """A row of `feed` as a message of the API."""
    return catalog_pb.Feed(
        source=row["source"],
        role=_enum_number(ROLE, row["role"]),
        basis=_enum_number(BASIS, row["basis"]),
        open_orders=_enum_number(OPEN_ORDER, row["open_orders"]),
        location_ids=row["location_ids"],
        skus=row["skus"],
        cadence_minutes=row["cadence_minutes"],
        tolerance_units=row["tolerance_units"],
        display_name=row["display_name"],
        computed=row["computed"],
    )


def _feed(fields: Fields, at: str, message: catalog_pb.Feed) -> Row:
    fields.text(f"{at}.source", message.source, longest=limits.ID_LENGTH, required=True)
    if message.source in OWN_SOURCES:
        fields.wrong(
            f"{at}.source", f"'{message.source}' is reserved for Truestock; name the POS or the warehouse system"
        )
    cadence = message.cadence_minutes if message.HasField("cadence_minutes") else None
    if cadence is not None:
        fields.whole_number(f"{at}.cadence_minutes", cadence, 1, limits.CADENCE_MINUTES)
    return {
        "source": message.source,
        "display_name": fields.text(f"{at}.display_name", message.display_name) or "",
        "role": _enum_word(fields, f"{at}.role", message.role, ROLE),
        "basis": _enum_word(fields, f"{at}.basis", message.basis or 1, BASIS),
        "open_orders": _enum_word(fields, f"{at}.open_orders", message.open_orders or 1, OPEN_ORDER),
        "location_ids": _ids(fields, f"{at}.location_ids", message.location_ids, limits.FEED_LOCATIONS),
        "skus": _ids(fields, f"{at}.skus", message.skus, limits.FEED_SKUS),
        "cadence_minutes": cadence,
        "computed": message.computed,
        "tolerance_units": fields.whole_number(
            f"{at}.tolerance_units", message.tolerance_units, 0, limits.COUNTED_UNITS
        ),
    }


def _ids(fields: Fields, at: str, ids: Sequence[str], limit: int) -> list[str]:
    if fields.size(at, ids, 0, limit):
        for index, entry in enumerate(ids):
            fields.text(f"{at}[{index}]", entry, longest=limits.ID_LENGTH, required=True)
    return sorted(set(ids))


def _enum_word(fields: Fields, at: str, number: int, words: Mapping[int, str]) -> str:
    if number not in words:
        fields.wrong(at, f"must be one of: {', '.join(words.values())}")
    return words.get(number, "")


def _enum_number(words: Mapping[int, str], word: str) -> Any:
    return next(number for number, candidate in words.items() if candidate == word)
