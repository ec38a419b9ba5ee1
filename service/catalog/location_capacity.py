"""Capacity of locations: the API's message as columns, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg

from policies.domain.capacity import DEFAULT_DAYS_AHEAD, MAX_CAPACITY, MAX_DAYS_AHEAD, Capacity
from service.rpc.validation import Fields
from truestock.v1 import catalog_service_pb2 as catalog_pb

Row = asyncpg.Record | Mapping[str, Any]

LIMITS = ("orders_per_day", "units_per_day", "orders_per_hour", "units_per_hour")


def columns(fields: Fields, at: str, location: catalog_pb.Location) -> dict[str, Any]:
    """The columns of a location's capacity, all null where it states none."""
    row: dict[str, Any] = dict.fromkeys((*LIMITS, "capacity_days_ahead"))
    if not location.HasField("capacity"):
        return row
    message = location.capacity
    for name in LIMITS:
        if message.HasField(name):  # type: ignore[arg-type]
            row[name] = fields.whole_number(f"{at}.{name}", getattr(message, name), 0, MAX_CAPACITY)
    if message.HasField("days_ahead"):
        days = fields.whole_number(f"{at}.days_ahead", message.days_ahead, 0, MAX_DAYS_AHEAD)
        row["capacity_days_ahead"] = days
    if not any(message.HasField(name) for name in LIMITS):  # type: ignore[arg-type]
        fields.wrong(at, f"has no limit; set one of {', '.join(LIMITS)}, or leave capacity unset")
    return row


def capacity_of(row: Row) -> Capacity | None:
    """A location's capacity; None if it states no limit."""
    limits = {name: row[name] for name in LIMITS}
    if all(limit is None for limit in limits.values()):
        return None
    days = row["capacity_days_ahead"]
    return Capacity(**limits, days_ahead=DEFAULT_DAYS_AHEAD if days is None else days)


def set_message(message: catalog_pb.Location, row: Row) -> None:
    """Sets a location's capacity as it was stated."""
    if capacity_of(row) is not None:
        stated = {name: row[name] for name in LIMITS if row[name] is not None}
        message.capacity.CopyFrom(catalog_pb.Capacity(**stated, days_ahead=row["capacity_days_ahead"]))


def of_message(message: catalog_pb.Capacity) -> Capacity:
    """A capacity as `policies` reads it."""
    limits = {name: getattr(message, name) for name in LIMITS if message.HasField(name)}  # type: ignore[arg-type]
    return Capacity(**limits, days_ahead=message.days_ahead if message.HasField("days_ahead") else DEFAULT_DAYS_AHEAD)


def message_of(capacity: Capacity) -> catalog_pb.Capacity:
    """A capacity as a decision input; its days ahead are always set."""
    limits = {name: limit for name in LIMITS if (limit := getattr(capacity, name)) is not None}
    return catalog_pb.Capacity(**limits, days_ahead=capacity.days_ahead)
