"""What the coordinates of a destination are the middle of, in the words of the API."""

from __future__ import annotations

from google.type.latlng_pb2 import LatLng

from policies.domain import model
from policies.domain.model import Coordinates, Destination
from truestock.v1 import order_pb2

LOCATED_BY = {
    word: order_pb2.DestinationPoint.LocatedBy.Value(f"LOCATED_BY_{word.upper()}") for word in model.LOCATED_BY
}
LOCATED_BY_WORD = {number: word for word, number in LOCATED_BY.items()}


def destination_point(destination: Destination | None) -> order_pb2.DestinationPoint | None:
    """Where a destination is taken to be; None if its order states coordinates, or nothing is known of it."""
    if destination is None or destination.located_by is None or not isinstance(destination.coordinates, Coordinates):
        return None
    point = destination.coordinates
    return order_pb2.DestinationPoint(
        coordinates=LatLng(latitude=point.latitude, longitude=point.longitude),
        located_by=LOCATED_BY[destination.located_by],
    )


def set_located(message: order_pb2.Destination, destination: Destination | None) -> None:
    """Sets the coordinates in a request to those that were looked up for its destination."""
    point = destination_point(destination)
    if point is not None:
        message.coordinates.CopyFrom(point.coordinates)
