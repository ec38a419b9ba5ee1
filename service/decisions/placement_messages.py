"""Where an order line may ship from, and which lines it must ship with, as messages of the API."""

from __future__ import annotations

from policies.domain.placement import ANYWHERE, Placement
from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2


def set_placement(message: order_pb2.OrderLine | allocation_pb.AllocatedLine, placement: Placement) -> None:
    """Sets where a line may ship from, and which lines it must ship with."""
    message.only_location_ids.extend(sorted(placement.only_location_ids or ()))
    message.not_location_ids.extend(sorted(placement.not_location_ids))
    message.keep_together = placement.keep_together


def placement_of(message: order_pb2.OrderLine) -> Placement:
    """Where a line may ship from, and which lines it must ship with."""
    only, without, group = message.only_location_ids, message.not_location_ids, message.keep_together
    if not only and not without and not group:
        return ANYWHERE
    return Placement(frozenset(only) if only else None, frozenset(without), group)
