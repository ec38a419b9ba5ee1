"""What is taken of the capacity of listed locations, as the API shows it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from google.type.date_pb2 import Date

from policies.domain.calendars import local_time
from policies.domain.capacity import WHOLE_DAY
from service.capacity import capacity_store
from service.database.database import Connection
from service.stock import levels
from truestock.v1 import catalog_service_pb2 as catalog_pb


async def add(connection: Connection, locations: Sequence[catalog_pb.Location]) -> None:
    """Adds to locations with a capacity what is taken from today on, by each location's own calendar."""
    now = await levels.clock(connection)
    by_id = {location.location_id: location for location in locations}
    # Somewhere it is still yesterday.
    for row in await capacity_store.taken_from(connection, by_id, now.date() - timedelta(days=1)):
        location, day = by_id[row["location_id"]], row["day"]
        if day >= local_time(now, location.time_zone).date():
            location.capacity.taken.add(
                day=Date(year=day.year, month=day.month, day=day.day),
                hour=None if row["hour"] == WHOLE_DAY else row["hour"],
                order_count=row["order_count"],
                unit_count=row["unit_count"],
            )
