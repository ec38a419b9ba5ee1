"""The messages of WatchAvailability."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from service.availability.published_availability import PublishedValue
from service.availability.published_items import item_of
from service.rpc import proto_values
from service.watch.watch_requests import AvailabilitySubscription
from truestock.v1 import availability_service_pb2 as availability_pb


def changes_message(
    subscription: AvailabilitySubscription,
    changes: Sequence[PublishedValue],
    token: str,
    read_time: datetime,
    unknown_skus: Iterable[str] = (),
    *,
    starts_over: bool,
) -> availability_pb.WatchAvailabilityResponse:
    """One message of a stream: changes as they were read at `read_time`, and the token from which to go on."""
    return availability_pb.WatchAvailabilityResponse(
        changes=[_change(value, include_outlets=subscription.include_outlets) for value in changes],
        resume_token=token,
        read_time=proto_values.timestamp(read_time),
        unknown_skus=sorted(name for name in unknown_skus if not item_of(name)),
        unknown_item_ids=sorted(item_id for name in unknown_skus if (item_id := item_of(name))),
        starts_over=starts_over,
    )


def _change(value: PublishedValue, *, include_outlets: bool) -> availability_pb.AvailabilityChange:
    change = availability_pb.AvailabilityChange(
        sku="" if item_of(value.sku) else value.sku,
        item_id=item_of(value.sku),
        version=value.version,
        sellable_count=value.sellable,
        largest_single_order_count=value.largest_single_order,
    )
    if include_outlets:
        for outlet_id, units in value.outlet_units().items():
            change.outlets.add(outlet_id=outlet_id, sellable_count=units)
    return change
