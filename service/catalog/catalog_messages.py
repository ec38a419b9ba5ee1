"""Catalog rows as messages of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg
from google.protobuf.duration_pb2 import Duration

from service.catalog import location_capacity, product_details, working_hours
from service.catalog.catalog_store import learned_velocity
from service.catalog.catalog_words import (
    CANCELLATION_DEFAULT,
    CHANNEL_KIND,
    LOCATION_STATUS,
    LOCATION_TYPE,
    PRODUCT_STATUS,
)
from service.rpc.proto_values import optional_money
from truestock.v1 import catalog_service_pb2 as catalog_pb


def location_message(row: asyncpg.Record) -> catalog_pb.Location:
    """A row of `location` as the API shows it."""
    message = catalog_pb.Location(
        location_id=row["id"],
        type=_number(LOCATION_TYPE, row["type"]),
        status=_number(LOCATION_STATUS, row["status"]),
        display_name=row["display_name"],
        tags=row["tags"],
        country=row["country"] or "",
        region=row["region"] or "",
        postal_code=row["postal_code"] or "",
        time_zone=row["time_zone"],
        offers_pickup=row["offers_pickup"],
        handling_minutes=row["handling_minutes"],
        priority=row["priority"],
    )
    if row["latitude"] is not None:
        message.coordinates.latitude, message.coordinates.longitude = row["latitude"], row["longitude"]
    if row["ships_to"] is not None:
        message.ships_to.SetInParent()
        message.ships_to.countries.extend(row["ships_to"])
    working_time = working_hours.message_of(row)
    if working_time is not None:
        message.working_time.CopyFrom(working_time)
    location_capacity.set_message(message, row)
    return message


def product_message(row: asyncpg.Record) -> catalog_pb.Product:
    """A row of `product` as the API shows it."""
    message = catalog_pb.Product(
        sku=row["sku"],
        display_name=row["display_name"],
        status=_number(PRODUCT_STATUS, row["status"]),
        tags=row["tags"],
        category=row["category"] or "",
        brand=row["brand"] or "",
        price=optional_money(row["price"], row["currency"]),
        style=row["style"] or "",
        barcode=row["barcode"] or "",
        image_uri=row["image_uri"] or "",
        velocity_per_day=row["velocity_per_day"],
        learned_velocity_per_day=learned_velocity(row),
        weight_grams=row["weight_grams"],
    )
    if row["height_mm"] is not None:
        for name in ("weight_grams", "length_mm", "width_mm", "height_mm"):
            setattr(message.dimensions, name, row[name])
    product_details.set_message(message, row)
    return message


def channel_message(row: asyncpg.Record) -> catalog_pb.Channel:
    """A row of `channel` as the API shows it."""
    seconds = row["unpaid_order_seconds"]
    return catalog_pb.Channel(
        channel_id=row["id"],
        kind=_number(CHANNEL_KIND, row["kind"]),
        display_name=row["display_name"],
        location_ids=row["location_ids"],
        cancellation_headroom=row["cancellation_headroom"],
        platform=row["platform"] or "",
        figure_lag_seconds=row["figure_lag_seconds"],
        unpaid_order_duration=None if seconds is None else Duration(seconds=seconds),
        cancellation_default=_number(CANCELLATION_DEFAULT, row["cancellation_default"]),
        markets=row["markets"],
    )


def _number(words: Mapping[int, str | None] | Mapping[int, str], word: str | None) -> Any:
    return next(number for number, number_word in words.items() if number_word == word)


def tag_message(row: asyncpg.Record) -> catalog_pb.Tag:
    """A tag as a message."""
    return catalog_pb.Tag(name=row["name"], location_count=row["locations"], product_count=row["products"])


def category_message(row: asyncpg.Record) -> catalog_pb.Category:
    """A category as a message."""
    return catalog_pb.Category(name=row["name"], product_count=row["products"])
