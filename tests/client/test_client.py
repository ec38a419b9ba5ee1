"""truestock-client against a real service, through a network that fails: the same for its sync and asyncio clients."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import grpc
import pytest

from service import limits
from service.rpc import streams
from tests.client.relay import Relay, relay_to
from tests.conftest import PLAIN_RULES, RetailerMaker, new_database, service_settings, service_thread
from tests.retailer import change, eventually
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    order_pb2,
    stock_service_pb2 as stock_pb,
)
from truestock_client import (
    AsyncClient,
    CallError,
    Client,
    InvalidRequest,
    NotFound,
    Refused,
    Unavailable,
    async_pages,
    from_status,
    pages,
)
from truestock_client.channels import with_defaults

_numbers = itertools.count(1)
AnyClient = Client | AsyncClient


@pytest.fixture(scope="module")
def address(postgres_url: str) -> Iterator[str]:
    """One service for all tests, in a thread of its own; it sells mugs on the channel `web`."""
    for url in new_database(postgres_url, "template_truestock"):
        with service_thread(service_settings(url, PLAIN_RULES)) as address, Client(address) as client:
            stock(client, "MUG")
            yield address


@pytest.fixture
async def relay(address: str) -> AsyncIterator[Relay]:
    async with relay_to(address) as relay:
        yield relay


@pytest.fixture
async def direct(address: str) -> AsyncIterator[AsyncClient]:
    """Another client, whose network never fails."""
    async with AsyncClient(address) as client:
        yield client


@pytest.fixture(params=[Client, AsyncClient])
async def client(request: pytest.FixtureRequest, relay: Relay) -> AsyncIterator[AnyClient]:
    client: AnyClient = request.param(relay.address, timeout=10)
    yield client
    await close(client)


def stock(client: Client, sku: str) -> None:
    channel = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB)
    client.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel]))
    location = catalog_pb.Location(location_id="dc", type=catalog_pb.Location.TYPE_WAREHOUSE)
    client.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=[location]))
    client.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku=sku)]))
    count = change(sku, "dc", count=stock_pb.StockCount(on_hand_count=1_000))
    client.stock.RecordStockChanges(stock_pb.RecordStockChangesRequest(source="counter", changes=[count]))


async def close(client: AnyClient) -> None:
    if isinstance(client, AsyncClient):
        await client.close()
    else:
        await asyncio.to_thread(client.close)


async def ask(client: AnyClient, service: str, method: str, request: Any, **options: Any) -> Any:
    call = getattr(getattr(client, service), method)
    if isinstance(client, AsyncClient):
        return await call(request, **options)
    return await asyncio.to_thread(call, request, **options)


async def watch_orders(client: AnyClient, **fields: Any) -> AsyncGenerator[allocation_pb.WatchOrdersResponse, None]:
    request = allocation_pb.WatchOrdersRequest(**fields)
    request.heartbeat_interval.FromSeconds(1)
    if isinstance(client, AsyncClient):
        async for message in client.watch_orders(request):
            yield message
        return
    messages = client.watch_orders(request)
    while (received := await asyncio.to_thread(next, messages, None)) is not None:
        yield received


async def next_changed(watch: AsyncIterator[allocation_pb.WatchOrdersResponse]) -> list[str]:
    """The orders of the next message that has any."""
    async with asyncio.timeout(10):
        async for message in watch:
            if message.changes:
                return [change.allocation.order_id for change in message.changes]
    raise AssertionError("the watch ended")


def order(order_id: str | None = None, **fields: Any) -> allocation_pb.AllocateOrderRequest:
    line = order_pb2.OrderLine(sku=fields.pop("sku", "MUG"), unit_count=fields.pop("units", 1))
    sold: dict[str, Any] = {"channel_id": "web", "commitment": order_pb2.COMMITMENT_SOLD}
    if order_id is None:
        order_id = f"A-{next(_numbers)}"
    return allocation_pb.AllocateOrderRequest(order_id=order_id, lines=[line], **sold | fields)


async def sell(client: AsyncClient) -> str:
    """The id of a new order."""
    return (await client.allocations.AllocateOrder(order())).allocation.order_id


def check(*skus: str) -> availability_pb.CheckAvailabilityRequest:
    return availability_pb.CheckAvailabilityRequest(channel_id="web", skus=skus)


async def error_of(client: AnyClient, service: str, method: str, request: Any, **options: Any) -> CallError:
    with pytest.raises(CallError) as caught:
        await ask(client, service, method, request, **options)
    return caught.value


# Retries


async def test_a_write_whose_answer_was_lost_is_sent_again_and_carried_out_once(
    client: AnyClient, relay: Relay, direct: AsyncClient
) -> None:
    sold = (await ask(client, "allocations", "AllocateOrder", order(units=2))).allocation
    await direct.fulfillment.ShipShipment(fulfillment_pb.ShipShipmentRequest(shipment_id=sold.shipments[0].shipment_id))
    unit = fulfillment_pb.LineUnits(line_id="1", unit_count=1)
    request = fulfillment_pb.RecordReturnRequest(
        allocation_id=sold.allocation_id,
        lines=[unit],
        location_id="dc",
        disposition=fulfillment_pb.RETURN_DISPOSITION_SELLABLE,
    )

    async def returned() -> int:
        get = allocation_pb.GetAllocationRequest(allocation_id=sold.allocation_id)
        return (await direct.allocations.GetAllocation(get)).allocation.lines[0].returned_count

    async def has_returned() -> bool:
        return await returned() > 0

    relay.lose_answers()
    call = asyncio.create_task(ask(client, "fulfillment", "RecordReturn", request))
    await eventually(has_returned)
    relay.cut()
    answer = (await call).allocation

    assert answer.lines[0].returned_count == await returned() == 1
    assert request.request_id == ""


async def test_a_call_waits_until_the_service_is_there_again(client: AnyClient, relay: Relay) -> None:
    await ask(client, "availability", "CheckAvailability", check("MUG"))
    relay.close()
    call = asyncio.create_task(ask(client, "allocations", "AllocateOrder", order()))
    await asyncio.sleep(0.2)
    assert not call.done()
    await relay.open()

    assert (await call).allocation.outcome == order_pb2.OUTCOME_ALLOCATED


async def test_a_service_that_stays_away_is_unavailable_at_the_deadline(client: AnyClient, relay: Relay) -> None:
    relay.close()
    started = time.monotonic()
    error = await error_of(client, "allocations", "AllocateOrder", order(), timeout=0.3)

    assert isinstance(error, Unavailable)
    assert len(error.request_id) == 36
    assert time.monotonic() - started < 5


async def test_a_service_that_does_not_answer_is_unavailable_at_the_clients_deadline(relay: Relay) -> None:
    async with AsyncClient(relay.address, timeout=0.5) as client:
        await ask(client, "availability", "CheckAvailability", check("MUG"), timeout=30)
        relay.lose_answers()
        error = await error_of(client, "availability", "CheckAvailability", check("MUG"))

    assert isinstance(error, Unavailable)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


# Errors


async def test_a_wrong_request_lists_its_wrong_fields(client: AnyClient) -> None:
    error = await error_of(client, "allocations", "AllocateOrder", order("", units=0))

    assert isinstance(error, InvalidRequest)
    assert (error.code(), error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert {violation.field for violation in error.violations} == {"order_id", "lines[0].unit_count"}
    assert all(violation.field in str(error) for violation in error.violations)


async def test_an_unknown_channel_is_not_found(client: AnyClient) -> None:
    error = await error_of(client, "allocations", "AllocateOrder", order(channel_id="nowhere"))

    assert isinstance(error, NotFound)
    assert error.metadata["resource_names"] == "nowhere"


async def test_what_a_state_forbids_is_refused(client: AnyClient) -> None:
    sold = (await ask(client, "allocations", "AllocateOrder", order())).allocation
    release = allocation_pb.ReleaseAllocationRequest(allocation_id=sold.allocation_id)
    error = await error_of(client, "allocations", "ReleaseAllocation", release)

    assert isinstance(error, Refused)
    assert error.reason == "WRONG_STATE"


async def test_the_error_of_an_order_in_a_batch_is_the_one_that_its_own_call_would_raise(client: AnyClient) -> None:
    batch = allocation_pb.BatchAllocateOrdersRequest(requests=[order(), order(units=0)])
    first, second = (await ask(client, "allocations", "BatchAllocateOrders", batch)).results
    error = from_status(second.error)

    assert first.allocation.outcome == order_pb2.OUTCOME_ALLOCATED
    assert isinstance(error, InvalidRequest)
    assert [violation.field for violation in error.violations] == ["lines[0].unit_count"]


async def test_a_request_that_is_too_large_is_not_retried(client: AnyClient) -> None:
    changes = [stock_pb.StockChange(change_id="x" * 2_000, sku="MUG")] * 600
    request = stock_pb.RecordStockChangesRequest(source="till", changes=changes)
    error = await error_of(client, "stock", "RecordStockChanges", request)

    assert not isinstance(error, Unavailable)
    assert (error.code(), error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")


# Watches


async def test_a_watch_resumes_where_it_was_interrupted(client: AnyClient, relay: Relay, direct: AsyncClient) -> None:
    watch = watch_orders(client)
    await anext(watch)
    first = await sell(direct)
    # An order of a moment before the watch may be sent too.
    while first not in await next_changed(watch):
        pass
    relay.close()
    second = await sell(direct)
    await relay.open()

    assert second in await next_changed(watch)
    await watch.aclose()


async def test_a_watch_goes_on_from_a_token_that_was_kept(client: AnyClient, direct: AsyncClient) -> None:
    watch = watch_orders(client)
    token = (await anext(watch)).resume_token
    await watch.aclose()
    first = await sell(direct)
    later = watch_orders(client, resume_token=token)

    assert first in await next_changed(later)
    await later.aclose()


async def test_a_watch_of_an_unknown_channel_is_not_found(client: AnyClient) -> None:
    with pytest.raises(NotFound):
        await anext(watch_orders(client, channel_ids=["nowhere"]))


@pytest.mark.long
async def test_a_watch_above_the_limit_begins_once_another_has_ended(
    retailers: RetailerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WATCHERS", 1)
    monkeypatch.setattr(streams, "RETRY_AFTER", streams.RETRY_AFTER / 20)
    retailer = await retailers.make()
    async with AsyncClient(retailer.service.address) as client:
        first, second = watch_orders(client), watch_orders(client)
        await anext(first)
        waiting = asyncio.ensure_future(anext(second))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await first.aclose()

        assert (await waiting).resume_token
        await second.aclose()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_a_watch_over_a_dead_connection_is_resumed_over_a_new_one(
    kind: type[AnyClient], relay: Relay, direct: AsyncClient
) -> None:
    client = kind(relay.address, options=[("grpc.keepalive_time_ms", 100), ("grpc.http2.ping_timeout_ms", 100)])
    try:
        watch = watch_orders(client)
        await anext(watch)
        relay.lose_answers()
        sold = await sell(direct)

        assert sold in await next_changed(watch)
        await watch.aclose()
    finally:
        await close(client)


def test_channels_look_for_dead_connections_unless_their_options_say_otherwise() -> None:
    assert dict(with_defaults([]))["grpc.keepalive_time_ms"] == 10_000
    assert dict(with_defaults([("grpc.keepalive_time_ms", 1)]))["grpc.keepalive_time_ms"] == 1


async def test_closing_a_client_ends_its_watch(relay: Relay) -> None:
    client = Client(relay.address)
    watch = client.watch_orders(allocation_pb.WatchOrdersRequest())
    await asyncio.to_thread(next, watch)
    waiting = asyncio.create_task(asyncio.to_thread(next, watch, "ended"))
    await asyncio.sleep(0.1)
    client.close()

    assert await asyncio.wait_for(waiting, 5) == "ended"


# Pages


async def test_every_page_of_a_list_is_read(client: AnyClient, direct: AsyncClient) -> None:
    await direct.catalog.UpsertProducts(
        catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku=f"S-{n}") for n in range(4)])
    )
    request = catalog_pb.ListProductsRequest(page_size=2)
    if isinstance(client, AsyncClient):
        read = [page async for page in async_pages(client.catalog.ListProducts, request)]
    else:
        read = await asyncio.to_thread(lambda: list(pages(client.catalog.ListProducts, request)))

    assert [len(page.products) for page in read] == [2, 2, 1]
    assert request.page_token == ""
