"""A small retailer for tests: a client of a running service."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from service.app.application import Running
from service.database.database import plain_url
from service.stock import ledger_check
from service.stock.ledger_check import LedgerReport
from tests.invariants import check_update_time
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    allocation_service_pb2_grpc as allocation_grpc,
    audit_service_pb2_grpc as audit_grpc,
    availability_service_pb2 as availability_pb,
    availability_service_pb2_grpc as availability_grpc,
    catalog_service_pb2 as catalog_pb,
    catalog_service_pb2_grpc as catalog_grpc,
    exception_pb2,
    exception_service_pb2 as exception_pb,
    exception_service_pb2_grpc as exception_grpc,
    fulfillment_service_pb2 as fulfillment_pb,
    fulfillment_service_pb2_grpc as fulfillment_grpc,
    kit_pb2,
    listing_pb2 as listing_pb,
    order_pb2,
    policy_service_pb2 as policy_pb,
    policy_service_pb2_grpc as policy_grpc,
    readiness_service_pb2_grpc as readiness_grpc,
    report_service_pb2_grpc as report_grpc,
    stock_service_pb2 as stock_pb,
    stock_service_pb2_grpc as stock_grpc,
)

HOLD, SOLD = order_pb2.COMMITMENT_HOLD, order_pb2.COMMITMENT_SOLD
State = allocation_pb.Allocation.State

_changes = itertools.count(1)


class Retailer:
    """A client of one service, with access to its database for checks."""

    def __init__(self, service: Running | None, channel: grpc.aio.Channel, database_url: str) -> None:
        self._service = service
        self.channel = channel
        self.database_url = database_url
        self.availability: Any = availability_grpc.AvailabilityServiceStub(channel)
        self.allocations: Any = allocation_grpc.AllocationServiceStub(channel)
        self.fulfillment: Any = fulfillment_grpc.FulfillmentServiceStub(channel)
        self.stock_service: Any = stock_grpc.StockServiceStub(channel)
        self.catalog: Any = catalog_grpc.CatalogServiceStub(channel)
        self.policies: Any = policy_grpc.PolicyServiceStub(channel)
        self.readiness: Any = readiness_grpc.ReadinessServiceStub(channel)
        self.audit: Any = audit_grpc.AuditServiceStub(channel)
        self.reports: Any = report_grpc.ReportServiceStub(channel)
        self.exceptions: Any = exception_grpc.ExceptionServiceStub(channel)

    @classmethod
    @asynccontextmanager
    async def connect(cls, service: Running, database_url: str) -> AsyncIterator[Retailer]:
        async with grpc.aio.insecure_channel(service.address) as channel:
            yield cls(service, channel, database_url)

    @classmethod
    @asynccontextmanager
    async def connect_to_process(cls, address: str, database_url: str) -> AsyncIterator[Retailer]:
        """A client of a service in a process of its own."""
        async with grpc.aio.insecure_channel(address) as channel:
            yield cls(None, channel, database_url)

    @property
    def service(self) -> Running:
        """The service in this process."""
        assert self._service is not None, "the service runs in a process of its own"
        return self._service

    async def set_up(self) -> None:
        channel = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB)
        await self.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel]))

    async def stock(self, figures: Mapping[tuple[str, str], int]) -> None:
        """Creates products and warehouses, and counts units by (SKU, location)."""
        skus, location_ids = sorted({sku for sku, _ in figures}), sorted({location_id for _, location_id in figures})
        await self.locations(*location_ids)
        products = [catalog_pb.Product(sku=sku) for sku in skus]
        await self.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products))
        await self.count(figures)

    async def locations(self, *location_ids: str, **fields: Any) -> None:
        locations = [
            catalog_pb.Location(location_id=location_id, type=catalog_pb.Location.TYPE_WAREHOUSE, **fields)
            for location_id in location_ids
        ]
        await self.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=locations))

    async def list_item(
        self, channel_id: str, item_id: str, sku: str, units: int = 1, *, validate_only: bool = False
    ) -> listing_pb.UpsertListingsResponse:
        """Maps a channel's item to units of a SKU."""
        listing = listing_pb.Listing(channel_id=channel_id, item_id=item_id, sku=sku, unit_count=units)
        request = listing_pb.UpsertListingsRequest(listings=[listing], validate_only=validate_only)
        response: listing_pb.UpsertListingsResponse = await self.catalog.UpsertListings(request)
        return response

    async def count(
        self, figures: Mapping[tuple[str, str], int], *, at: datetime | None = None, source: str = "counter"
    ) -> list[stock_pb.StockChangeResult]:
        changes = [
            change(sku, location_id, at=at, count=stock_pb.StockCount(on_hand_count=units))
            for (sku, location_id), units in figures.items()
        ]
        return await self.record(*changes, source=source)

    async def record(self, *changes: stock_pb.StockChange, source: str = "counter") -> list[stock_pb.StockChangeResult]:
        request = stock_pb.RecordStockChangesRequest(source=source, changes=changes)
        return list((await self.stock_service.RecordStockChanges(request)).results)

    async def allocate(
        self, order_id: str, lines: Mapping[str, int] | list[tuple[str, int]], commitment: int = SOLD, **fields: Any
    ) -> allocation_pb.Allocation:
        request = order_request(order_id, lines, commitment, **fields)
        allocation: allocation_pb.Allocation = (await self.allocations.AllocateOrder(request, timeout=60)).allocation
        return allocation

    async def allocate_together(
        self, requests: Sequence[allocation_pb.AllocateOrderRequest]
    ) -> list[allocation_pb.Allocation]:
        """The allocations of orders that one call sends."""
        batch = allocation_pb.BatchAllocateOrdersRequest(requests=requests)
        return [result.allocation for result in (await self.allocations.BatchAllocateOrders(batch)).results]

    async def confirm(self, allocation_id: str, **fields: Any) -> allocation_pb.Allocation:
        request = allocation_pb.ConfirmAllocationRequest(allocation_id=allocation_id, **fields)
        allocation: allocation_pb.Allocation = (await self.allocations.ConfirmAllocation(request)).allocation
        return allocation

    async def release(self, allocation_id: str, **fields: Any) -> allocation_pb.Allocation:
        request = allocation_pb.ReleaseAllocationRequest(allocation_id=allocation_id, **fields)
        allocation: allocation_pb.Allocation = (await self.allocations.ReleaseAllocation(request)).allocation
        return allocation

    async def cancel(self, allocation_id: str, units: Mapping[str, int], **fields: Any) -> allocation_pb.Allocation:
        cancellations = [
            allocation_pb.LineCancellation(line_id=line, unit_count=count) for line, count in units.items()
        ]
        request = allocation_pb.CancelOrderLinesRequest(
            allocation_id=allocation_id, cancellations=cancellations, **fields
        )
        allocation: allocation_pb.Allocation = (await self.allocations.CancelOrderLines(request)).allocation
        return allocation

    async def accept(self, shipment: Any, **fields: Any) -> allocation_pb.Allocation:
        return await self._call_for_shipment("AcceptShipment", shipment, **fields)

    async def ship(self, shipment: Any, units: Mapping[str, int] | None = None, **fields: Any) -> Any:
        return await self._call_for_shipment("ShipShipment", shipment, lines=line_units(units), **fields)

    async def reassign(self, shipment: Any, location_id: str = "", **fields: Any) -> allocation_pb.Allocation:
        request = allocation_pb.ReassignShipmentRequest(
            shipment_id=shipment.shipment_id, location_id=location_id, actor="kim", **fields
        )
        allocation: allocation_pb.Allocation = (await self.allocations.ReassignShipment(request)).allocation
        return allocation

    async def undo(self, shipment: Any, event_id: str = "", **fields: Any) -> allocation_pb.Allocation:
        return await self._call_for_shipment("UndoShipment", shipment, event_id=event_id, **fields)

    async def reject(self, shipment: Any, reason: str, units: Mapping[str, int] | None = None, **fields: Any) -> Any:
        number = fulfillment_pb.RejectReason.Value(f"REJECT_REASON_{reason.upper()}")
        return await self._call_for_shipment(
            "RejectShipment", shipment, reason=number, lines=line_units(units), **fields
        )

    async def deliver(self, shipment: Any, **fields: Any) -> allocation_pb.Allocation:
        return await self._call_for_shipment("DeliverShipment", shipment, **fields)

    async def mark_ready(self, shipment: Any, **fields: Any) -> allocation_pb.Allocation:
        return await self._call_for_shipment("MarkReadyForPickup", shipment, **fields)

    async def collect(self, shipment: Any, **fields: Any) -> allocation_pb.Allocation:
        return await self._call_for_shipment("CollectShipment", shipment, **fields)

    async def return_uncollected(self, shipment: Any, **fields: Any) -> allocation_pb.Allocation:
        return await self._call_for_shipment("ReturnUncollected", shipment, **fields)

    async def record_return(
        self, allocation_id: str, units: Mapping[str, int], disposition: str, location_id: str = "", **fields: Any
    ) -> allocation_pb.Allocation:
        number = fulfillment_pb.ReturnDisposition.Value(f"RETURN_DISPOSITION_{disposition.upper()}")
        request = fulfillment_pb.RecordReturnRequest(
            allocation_id=allocation_id,
            lines=line_units(units),
            disposition=number,
            location_id=location_id,
            **fields,
        )
        allocation: allocation_pb.Allocation = (await self.fulfillment.RecordReturn(request)).allocation
        return allocation

    async def _call_for_shipment(self, method: str, shipment: Any, **fields: Any) -> allocation_pb.Allocation:
        request = getattr(fulfillment_pb, f"{method}Request")(shipment_id=shipment.shipment_id, **fields)
        allocation: allocation_pb.Allocation = (await getattr(self.fulfillment, method)(request)).allocation
        return allocation

    async def cancel_order(
        self, name: str, units: Mapping[str, int] | None = None, **fields: Any
    ) -> allocation_pb.CancelOrderLinesResponse:
        """Cancels units by line, or the whole order, of `channel/order`, even if it has not arrived yet."""
        cancellations = [
            allocation_pb.LineCancellation(line_id=line, unit_count=count) for line, count in (units or {}).items()
        ]
        request = allocation_pb.CancelOrderLinesRequest(
            order=order_reference(name), cancellations=cancellations, whole_order=units is None, **fields
        )
        answer: allocation_pb.CancelOrderLinesResponse = await self.allocations.CancelOrderLines(request)
        return answer

    async def kits(self, kits: Mapping[str, Mapping[str, int]], *, may_split: bool = False) -> None:
        """Declares the components of kits, whose SKUs become products if they are none yet."""
        products = [catalog_pb.Product(sku=sku) for sku in kits]
        await self.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products))
        await self.upsert_kits(*(kit_of(sku, components, may_split=may_split) for sku, components in kits.items()))

    async def upsert_kits(self, *kits: kit_pb2.Kit, **fields: Any) -> kit_pb2.UpsertKitsResponse:
        request = kit_pb2.UpsertKitsRequest(kits=kits, **fields)
        answer: kit_pb2.UpsertKitsResponse = await self.catalog.UpsertKits(request)
        return answer

    async def channels(self, **platforms: str) -> None:
        """Creates social channels, each with the platform whose states it uses; empty for none."""
        channels = [
            catalog_pb.Channel(channel_id=channel_id, kind=catalog_pb.Channel.KIND_SOCIAL, platform=platform)
            for channel_id, platform in platforms.items()
        ]
        await self.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=channels))

    async def find_order(self, name: str) -> allocation_pb.GetAllocationResponse:
        """The order `channel/order`."""
        return await self._get(allocation_pb.GetAllocationRequest(order=order_reference(name)))

    async def get(self, allocation_id: str) -> allocation_pb.GetAllocationResponse:
        return await self._get(allocation_pb.GetAllocationRequest(allocation_id=allocation_id))

    async def _get(self, request: allocation_pb.GetAllocationRequest) -> allocation_pb.GetAllocationResponse:
        answer: allocation_pb.GetAllocationResponse = await self.allocations.GetAllocation(request)
        check_update_time(answer)
        return answer

    async def open_exceptions(self, **filters: Any) -> list[exception_pb2.ExceptionRecord]:
        request = exception_pb.ListExceptionsRequest(states=[exception_pb2.ExceptionRecord.STATE_OPEN], **filters)
        return list((await self.exceptions.ListExceptions(request)).exceptions)

    async def resolve(
        self, exception_id: str, resolution: int, *, actor: str = "anna", **fields: Any
    ) -> exception_pb2.ExceptionRecord:
        request = exception_pb.ResolveExceptionRequest(
            exception_id=exception_id,
            resolution=resolution,  # type: ignore[arg-type]
            actor=actor,
            **fields,
        )
        record: exception_pb2.ExceptionRecord = (await self.exceptions.ResolveException(request)).exception
        return record

    async def sellable(self, sku: str, channel_id: str = "web") -> int:
        request = availability_pb.CheckAvailabilityRequest(channel_id=channel_id, skus=[sku])
        answer = await self.availability.CheckAvailability(request)
        count: int = answer.availabilities[0].sellable_count
        return count

    async def level(self, sku: str, location_id: str) -> stock_pb.StockLevel:
        request = stock_pb.ListStockLevelsRequest(skus=[sku], location_ids=[location_id])
        level: stock_pb.StockLevel = (await self.stock_service.ListStockLevels(request)).stock_levels[0]
        return level

    async def ledger(self) -> LedgerReport:
        """What `truestock verify-ledger` finds. Also checks what no foreign key does: each row belongs to an order."""
        connection = await asyncpg.connect(plain_url(self.database_url))
        try:
            for table in ("order_line", "shipment", "promise", "shortage", "order_event", "decision"):
                without_order = f"SELECT FROM {table} WHERE allocation_id NOT IN (SELECT id FROM allocation)"
                assert not await connection.fetch(without_order), table
            return await ledger_check.verify(connection)
        finally:
            await connection.close()

    async def sql(self, statement: str, *arguments: Any) -> list[Any]:
        connection = await asyncpg.connect(plain_url(self.database_url))
        try:
            rows: list[Any] = await connection.fetch(statement, *arguments)
            return rows
        finally:
            await connection.close()

    async def decision(self, decision_id: str) -> policy_pb.GetDecisionResponse:
        request = policy_pb.GetDecisionRequest(decision_id=decision_id)
        answer: policy_pb.GetDecisionResponse = await self.policies.GetDecision(request)
        return answer

    async def replay(self, decision_id: str) -> policy_pb.ReplayDecisionResponse:
        request = policy_pb.ReplayDecisionRequest(decision_id=decision_id)
        answer: policy_pb.ReplayDecisionResponse = await self.policies.ReplayDecision(request)
        return answer

    async def explain(self, decision_id: str) -> policy_pb.ExplainDecisionResponse:
        request = policy_pb.ExplainDecisionRequest(decision_id=decision_id)
        answer: policy_pb.ExplainDecisionResponse = await self.policies.ExplainDecision(request)
        return answer

    async def expire(self, hold: allocation_pb.Allocation) -> None:
        """Lets a hold expire now, in one statement: a service never sees one that expired with units that did not."""
        await self.sql(
            "WITH hold AS (UPDATE allocation SET expire_time = now() WHERE id = $1::uuid RETURNING id) "
            "UPDATE promise SET expire_time = now() FROM hold WHERE allocation_id = hold.id",
            hold.allocation_id,
        )

    async def has_done(self, operation: str) -> None:
        """Waits until the service has done this operation on its database, such as the first of its periodic ones."""

        async def is_counted() -> bool:
            return self.metric("database_seconds_count", operation=operation) > 0

        await eventually(is_counted)

    def metric(self, name: str, **labels: str) -> float:
        """A metric with these labels, added up over its other labels."""
        samples = (sample for family in self.service.metrics.registry.collect() for sample in family.samples)
        named = (x for x in samples if x.name == f"truestock_{name}" and labels.items() <= x.labels.items())
        return sum(sample.value for sample in named)


def kit_of(sku: str, components: Mapping[str, int], *, may_split: bool = False) -> kit_pb2.Kit:
    """A kit of units by SKU."""
    parts = [kit_pb2.KitComponent(sku=component, unit_count=units) for component, units in components.items()]
    return kit_pb2.Kit(sku=sku, components=parts, may_split=may_split)


def order_request(
    order_id: str, lines: Mapping[str, int] | list[tuple[str, int]], commitment: int = SOLD, **fields: Any
) -> allocation_pb.AllocateOrderRequest:
    pairs = list(lines.items()) if isinstance(lines, Mapping) else lines
    return allocation_pb.AllocateOrderRequest(
        channel_id=fields.pop("channel_id", "web"),
        order_id=order_id,
        commitment=commitment,  # type: ignore[arg-type]
        lines=[order_pb2.OrderLine(sku=sku, unit_count=units) for sku, units in pairs],
        **fields,
    )


def change(
    sku: str, location_id: str, *, at: datetime | None = None, change_id: str = "", **fields: Any
) -> stock_pb.StockChange:
    """A stock change, effective a minute ago unless `at` is given."""
    stock_change = stock_pb.StockChange(
        change_id=change_id or f"c-{next(_changes)}", sku=sku, location_id=location_id, **fields
    )
    stock_change.effective_time.FromDatetime(at or datetime.now(UTC) - timedelta(minutes=1))
    return stock_change


def line_units(units: Mapping[str, int] | None) -> list[fulfillment_pb.LineUnits]:
    return [fulfillment_pb.LineUnits(line_id=line, unit_count=count) for line, count in (units or {}).items()]


def movement(kind: int, units: int) -> stock_pb.StockMovement:
    return stock_pb.StockMovement(kind=kind, unit_count=units)  # type: ignore[arg-type]


def order_reference(name: str) -> order_pb2.OrderReference:
    """`channel/order` as a reference of the API."""
    channel_id, _, order_id = name.partition("/")
    return order_pb2.OrderReference(channel_id=channel_id, order_id=order_id)


def promised(allocation: allocation_pb.Allocation) -> dict[str, int]:
    """Promised units by location."""
    units: dict[str, int] = {}
    for shipment in allocation.shipments:
        units[shipment.location_id] = units.get(shipment.location_id, 0) + sum(
            line.unit_count for line in shipment.lines
        )
    return units


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    """Waits until `holds` returns true."""
    for _ in range(int(seconds / 0.1)):
        if await holds():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the condition did not hold within {seconds} s")


async def refused(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    """The error with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


def bad_fields(error: grpc.aio.AioRpcError) -> set[str]:
    """The fields of its request that an error names."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    found = error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Is(found.DESCRIPTOR):
            detail.Unpack(found)
    return {violation.field for violation in found.field_violations}


def request_id() -> str:
    return str(uuid.uuid4())
