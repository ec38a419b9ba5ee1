"""Takes orders of a channel through the paths of the checklist, through the API of a service on a scratch schema."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
from google.type.latlng_pb2 import LatLng

from policies.domain.model import Coordinates
from policies.readiness.path_answers import (
    CANCELLATION,
    LOCATION_OFF,
    PARTIAL_FULFILLMENT,
    REFUND,
    RETURN,
    STOCK_CHANGE,
    PathRun,
)
from service.rpc.proto_values import timestamp
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    exception_service_pb2 as exception_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    order_pb2,
    stock_service_pb2 as stock_pb,
)
from truestock.v1.allocation_service_pb2_grpc import AllocationServiceStub
from truestock.v1.catalog_service_pb2_grpc import CatalogServiceStub
from truestock.v1.exception_service_pb2_grpc import ExceptionServiceStub
from truestock.v1.fulfillment_service_pb2_grpc import FulfillmentServiceStub
from truestock.v1.stock_service_pb2_grpc import StockServiceStub

SOURCE = "readiness"
UNITS = 1_000
"""Units that each location is given."""


@dataclass(frozen=True, slots=True)
class PathSubject:
    """The channel that is copied, its locations, what is ordered, and where it is sent."""

    channel_id: str
    location_ids: tuple[str, ...]
    sku: str
    country: str | None = None
    coordinates: Coordinates | None = None


class _PathFailed(Exception):
    """A path did not end as it must; the message says how it ended."""


async def exercise_paths(
    channel: grpc.aio.Channel, subject: PathSubject, sweep_locations: Callable[[], Awaitable[None]]
) -> Mapping[str, PathRun]:
    """The outcome of each path. `sweep_locations` does now what the service does in the background.

    Raises AioRpcError only if the stock cannot be counted.
    """
    paths = _Paths(channel, subject, sweep_locations)
    await paths.count(dict.fromkeys(subject.location_ids, UNITS))
    steps = {
        CANCELLATION: paths.cancel,
        PARTIAL_FULFILLMENT: paths.ship_in_parts,
        REFUND: paths.refund,
        RETURN: paths.take_back,
        STOCK_CHANGE: paths.lose_stock,
        LOCATION_OFF: paths.switch_off,
    }
    return {name: await _run(step) for name, step in steps.items()}


async def _run(step: Callable[[], Awaitable[str]]) -> PathRun:
    try:
        return PathRun(outcome=await step())
    except _PathFailed as failure:
        return PathRun(error=str(failure))
    except grpc.aio.AioRpcError as error:
        return PathRun(error=f"a call failed: {error.details() or error.code().name}")


class _Paths:
    """One order for each path, but for a refund and a return, which are of the order that shipped in parts."""

    def __init__(
        self, channel: grpc.aio.Channel, subject: PathSubject, sweep_locations: Callable[[], Awaitable[None]]
    ) -> None:
        self._allocations = AllocationServiceStub(channel)
        self._catalog = CatalogServiceStub(channel)
        self._exceptions = ExceptionServiceStub(channel)
        self._fulfillment = FulfillmentServiceStub(channel)
        self._stock = StockServiceStub(channel)
        self._subject = subject
        self._sweep_locations = sweep_locations
        self._orders = 0
        self._changes = 0
        self._shipped: allocation_pb.Allocation | None = None

    async def cancel(self) -> str:
        """Cancels a paid order as a whole: its units are free again."""
        order = await self._order(2)
        request = allocation_pb.CancelOrderLinesRequest(allocation_id=order.allocation_id, whole_order=True)
        cancelled = (await self._allocations.CancelOrderLines(request)).allocation
        if cancelled.state != allocation_pb.Allocation.STATE_CANCELLED:
            raise _PathFailed(f"the cancelled order is {_word(allocation_pb.Allocation.State.Name(cancelled.state))}")
        if (promised := await self._units("allocated_count")) != 0:
            raise _PathFailed(f"{promised} units stay promised to the cancelled order")
        return "2 units were free again"

    async def ship_in_parts(self) -> str:
        """Ships an order of three units as one and two."""
        before = await self._units("on_hand_count")
        order = await self._order(3)
        for event, shipment in enumerate(order.shipments):
            units = sum(line.unit_count for line in shipment.lines)
            for part in (1, units - 1) if units > 1 else (1,):
                request = fulfillment_pb.ShipShipmentRequest(
                    shipment_id=shipment.shipment_id, event_id=f"part-{event}-{part}", lines=[_one_line(part)]
                )
                order = (await self._fulfillment.ShipShipment(request)).allocation
        if (left := before - await self._units("on_hand_count")) != 3:
            raise _PathFailed(f"3 units were shipped, and {left} left the stock")
        self._shipped = order
        return "3 units left the stock in parts"

    async def refund(self) -> str:
        """Refunds a shipped unit that the shopper keeps."""
        before = await self._units("on_hand_count")
        await self._record_return(fulfillment_pb.RETURN_DISPOSITION_NOT_RETURNED, "")
        if (after := await self._units("on_hand_count")) != before:
            raise _PathFailed(f"a refund changed the stock by {after - before}")
        return "the stock stayed as it was"

    async def take_back(self) -> str:
        """Takes back a shipped unit at the location that shipped it."""
        before = await self._units("on_hand_count")
        location_id = "" if self._shipped is None else self._shipped.shipments[0].location_id
        await self._record_return(fulfillment_pb.RETURN_DISPOSITION_SELLABLE, location_id)
        if (back := await self._units("on_hand_count") - before) != 1:
            raise _PathFailed(f"1 unit came back, and the stock changed by {back}")
        return f"1 unit was stock again at {location_id}"

    async def lose_stock(self) -> str:
        """A count finds nothing where a paid order is promised its units."""
        order = await self._order(2)
        location_id = order.shipments[0].location_id
        await self.count({location_id: 0})
        outcome = await self._left(order.allocation_id, location_id, must_leave=True)
        await self.count({location_id: UNITS})
        return outcome

    async def switch_off(self) -> str:
        """A location is closed that a paid order is promised its units at."""
        order = await self._order(2)
        location_id = order.shipments[0].location_id
        listed = await self._catalog.ListLocations(catalog_pb.ListLocationsRequest(page_size=1_000))
        location = next(x for x in listed.locations if x.location_id == location_id)
        location.status = catalog_pb.Location.STATUS_CLOSED
        await self._catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=[location]))
        await self._sweep_locations()
        return await self._left(order.allocation_id, location_id, must_leave=False)

    async def count(self, figures: Mapping[str, int]) -> None:
        """Counts the product at these locations."""
        changes = []
        for location_id, units in figures.items():
            self._changes += 1
            change = stock_pb.StockChange(
                change_id=f"count-{self._changes}",
                sku=self._subject.sku,
                location_id=location_id,
                effective_time=timestamp(datetime.now(UTC)),
                count=stock_pb.StockCount(on_hand_count=units),
            )
            changes.append(change)
        request = stock_pb.RecordStockChangesRequest(source=SOURCE, changes=changes)
        await self._stock.RecordStockChanges(request)

    async def _order(self, units: int) -> allocation_pb.Allocation:
        """A paid order that was allocated whole."""
        self._orders += 1
        line = order_pb2.OrderLine(line_id="1", sku=self._subject.sku, unit_count=units)
        request = allocation_pb.AllocateOrderRequest(
            channel_id=self._subject.channel_id,
            order_id=f"readiness-{self._orders}",
            lines=[line],
            commitment=order_pb2.COMMITMENT_SOLD,
        )
        if self._subject.country:
            request.destination.country = self._subject.country
        if self._subject.coordinates is not None:
            point = self._subject.coordinates
            request.destination.coordinates.CopyFrom(LatLng(latitude=point.latitude, longitude=point.longitude))
        order: allocation_pb.Allocation = (await self._allocations.AllocateOrder(request)).allocation
        if sum(line.unit_count for shipment in order.shipments for line in shipment.lines) < units:
            outcome = _word(order_pb2.Outcome.Name(order.outcome))
            where = f" to {self._subject.country}" if self._subject.country else ""
            raise _PathFailed(f"an order of {units} units of {self._subject.sku}{where} was {outcome}")
        return order

    async def _left(self, allocation_id: str, location_id: str, *, must_leave: bool) -> str:
        """Where the units of an order went that were at a location, or who has to settle it."""
        request = allocation_pb.GetAllocationRequest(allocation_id=allocation_id)
        order = (await self._allocations.GetAllocation(request)).allocation
        here, elsewhere = 0, set[str]()
        for shipment in order.shipments:
            units = sum(line.unit_count for line in shipment.lines)
            here += units if shipment.location_id == location_id else 0
            elsewhere |= {shipment.location_id} if units and shipment.location_id != location_id else set()
        if here and must_leave:
            raise _PathFailed(f"{here} units stay promised at {location_id}, which has none")
        if elsewhere and not here:
            return f"the units moved from {location_id} to {', '.join(sorted(elsewhere))}"
        listed = await self._exceptions.ListExceptions(exception_pb.ListExceptionsRequest(page_size=1_000))
        raised = [x for x in listed.exceptions if x.allocation_id == allocation_id]
        if raised:
            return f"nobody else has them: exception {raised[-1].kind} for {raised[-1].owner}"
        if order.state == allocation_pb.Allocation.STATE_CANCELLED:
            return "nobody else has them: the rules cancelled them"
        raise _PathFailed(f"nothing became of the units at {location_id}")

    async def _record_return(self, disposition: Any, location_id: str) -> None:
        if self._shipped is None:
            raise _PathFailed("nothing was shipped")
        request = fulfillment_pb.RecordReturnRequest(
            allocation_id=self._shipped.allocation_id,
            lines=[_one_line(1)],
            disposition=disposition,
            location_id=location_id,
        )
        await self._fulfillment.RecordReturn(request)

    async def _units(self, figure: str) -> int:
        """A figure of the product, over all locations."""
        request = stock_pb.ListStockLevelsRequest(skus=[self._subject.sku], page_size=1_000)
        levels = (await self._stock.ListStockLevels(request)).stock_levels
        return sum(getattr(level, figure) for level in levels)


def _one_line(units: int) -> fulfillment_pb.LineUnits:
    return fulfillment_pb.LineUnits(line_id="1", unit_count=units)


def _word(name: str) -> str:
    return name.rpartition("_")[2].lower() if name.startswith("STATE_") else name.removeprefix("OUTCOME_").lower()
