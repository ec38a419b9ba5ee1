"""Stock levels as messages of the API."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from policies.domain.model import StockLevel
from service.rpc.proto_values import timestamp
from truestock.v1 import (
    stock_service_pb2 as stock_pb,
)


def stock_level(
    row: asyncpg.Record,
    level: StockLevel,
    unavailable: Sequence[stock_pb.UnavailableUnits] = (),
    incoming: Sequence[stock_pb.IncomingUnits] = (),
) -> stock_pb.StockLevel:
    """A stock level as a message, with its row, its unavailable units by reason and its incoming units."""
    return stock_pb.StockLevel(
        sku=level.sku,
        location_id=level.location_id,
        on_hand_count=level.on_hand,
        unavailable_count=level.unavailable,
        held_count=level.held,
        allocated_count=level.allocated,
        available_count=level.available,
        as_of_time=timestamp(level.as_of_time),
        counted_time=timestamp(level.counted_time),
        ingest_time=timestamp(row["ingest_time"]),
        source=level.source or "",
        count_confidence=level.count_confidence,
        physical_count_time=timestamp(row["physical_count_time"]),
        unavailable=unavailable,
        incoming=incoming,
        untracked=not row["tracked"],
        version=row["version"],
    )
