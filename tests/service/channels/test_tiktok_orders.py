"""Orders of a TikTok shop reach Truestock by themselves: a real service, a real connector, a shop over real HTTP."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from tests.connector_site import ACCOUNT, Site, channel_tables, until
from tests.fakes.tiktok_shop.records import Order
from tests.fakes.tiktok_shop.tokens import webhook_headers
from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2

State = allocation_pb.Allocation.State
ON_HOLD, READY = order_pb2.ORDER_STATUS_ON_HOLD, order_pb2.ORDER_STATUS_READY_TO_FULFILL


@pytest.mark.long
async def test_an_order_is_promised_at_once_and_released_after_the_remorse_hour(site: Site) -> None:
    async with site.running():
        order = site.shop.books.place_order({"MUG": 2})
        assert order is not None
        held = await until(lambda: site.order(order.id))
        site.shop.books.pay(order)
        on_hold = await until(lambda: _with_status(site, order.id, ON_HOLD))
        await asyncio.to_thread(site.shop.pass_time, timedelta(hours=1))
        ready = await until(lambda: _with_status(site, order.id, READY))

    assert held.allocation.state == State.STATE_HELD
    assert on_hold.allocation.hold.reason == "remorse period"
    assert [line.promised_count for line in on_hold.allocation.lines] == [2]
    assert not ready.allocation.HasField("hold")
    assert ready.allocation.outlet_id == order.warehouse_id
    assert ready.allocation.ship_by_time.seconds == order.created + 2 * 86_400


@pytest.mark.long
async def test_cancellations_and_requests_follow_though_webhooks_come_twice_and_in_any_order(site: Site) -> None:
    books, faults = site.shop.books, site.shop.faults
    faults.duplicates, faults.reorder_seconds = 0.2, 0.3
    async with site.running():
        part, asked, withdrawn = (_bought(site, {"MUG": 2}) for _ in range(3))
        unpaid = books.place_order({"MUG": 1})
        assert unpaid
        for order in (part, asked, withdrawn):
            await until(lambda order=order: _with_status(site, order.id, READY))  # type: ignore[misc]
        await until(lambda: site.order(unpaid.id))
        books.cancel(part, "SELLER", [part.lines[0]])
        books.cancel(unpaid, "BUYER")
        books.request_cancel(asked)
        books.answer_cancel(books.request_cancel(withdrawn), approve=False)
        await until(lambda: _with_status(site, unpaid.id, order_pb2.ORDER_STATUS_CANCELLED))
        await until(lambda: _with_request(site, asked.id, allocation_pb.CancellationRequest.STATE_REQUESTED))
        await until(lambda: _with_request(site, withdrawn.id, allocation_pb.CancellationRequest.STATE_WITHDRAWN))
        await until(lambda: _with_units(site, part.id, 1))
        orders = {order.id: (await site.order(order.id)) for order in (part, asked, withdrawn, unpaid)}
    requests = {id: found.allocation.cancellation_request for id, found in orders.items()}

    assert _counts(orders[part.id]) == [(1, 1)]
    assert "1 unit cancelled. Fault: seller." in " ".join(event.description for event in orders[part.id].timeline)
    assert orders[unpaid.id].allocation.status == order_pb2.ORDER_STATUS_CANCELLED
    assert requests[asked.id].state == allocation_pb.CancellationRequest.STATE_REQUESTED
    assert requests[asked.id].deadline.seconds == asked.requested_cancel + 86_400
    assert requests[withdrawn.id].state == allocation_pb.CancellationRequest.STATE_WITHDRAWN
    assert (await site.retailer.ledger()).balanced


@pytest.mark.long
async def test_a_returned_unit_comes_back_once_and_a_refunded_one_stays_away(site: Site) -> None:
    books = site.shop.books
    # A return before the last count is in that count already.
    await asyncio.to_thread(site.shop.pass_time, timedelta(minutes=65))
    async with site.running():
        order = _bought(site, {"MUG": 3})
        ready = await until(lambda: _with_status(site, order.id, READY))
        await site.retailer.ship(ready.allocation.shipments[0])
        # The return first: a unit that comes back after one of its line was refunded is taken to be that one.
        for number, (line, kind) in enumerate(zip(order.lines, ("RETURN_AND_REFUND", "REFUND"), strict=False), 1):
            record = books.request_return(order, [line], kind)
            books.set_return(record, "RETURN_OR_REFUND_REQUEST_COMPLETE")
            books.set_return(record, "RETURN_OR_REFUND_REQUEST_COMPLETE")

            async def is_counted(number: int = number) -> bool:
                line = (await site.order(order.id)).allocation.lines[0]
                return bool(line.returned_count + line.refunded_count == number)

            await until(is_counted)
        await site.settled()
        found = await site.order(order.id)

    line = found.allocation.lines[0]
    assert (line.returned_count, line.refunded_count) == (1, 1)
    level = await site.retailer.level("MUG", "dc")
    assert (level.on_hand_count, level.unavailable_count) == (8, 1)


@pytest.mark.long
async def test_what_no_webhook_told_is_found_by_the_poll_in_a_few_calls(site: Site) -> None:
    missed = [_bought(site, {"MUG": 1}) for _ in range(6)]
    async with site.running(subscribe=False):
        for order in missed:
            await until(lambda order=order: _with_status(site, order.id, READY))  # type: ignore[misc]

    assert site.shop.conditions.calls["GET /order/202507/orders"] <= 4
    assert (await site.retailer.level("MUG", "dc")).available_count == 4


@pytest.mark.long
async def test_an_order_of_an_item_without_a_listing_waits_for_it_and_says_so(site: Site) -> None:
    warehouse = next(iter(site.shop.books.warehouses))
    vase = site.shop.books.add_sku("VASE", {warehouse: 3})
    await site.retailer.stock({("VASE", "dc"): 3})
    async with site.running():
        order = _bought(site, {"VASE": 1})
        found = await until(lambda: site.order(order.id))
        causes = {shortage.cause for shortage in found.allocation.shortages}
        await site.retailer.list_item("tiktok_shop", vase.id, "VASE")
        promised = await until(lambda: _with_promise(site, order.id))

    assert causes == {"unmapped"}
    assert _counts(promised) == [(1, 1)]


@pytest.mark.long
async def test_a_return_of_an_unknown_order_waits_with_an_exception_and_the_rest_goes_on(site: Site) -> None:
    books = site.shop.books
    async with site.running():
        lost = books.place_order({"TRAY": 1})
        assert lost
        books.orders.pop(lost.id)
        books.set_return(books.request_return(lost), "RETURN_OR_REFUND_REQUEST_COMPLETE")
        order = _bought(site, {"MUG": 1})
        await until(lambda: _with_status(site, order.id, READY))
        waiting = await until(lambda: site.store.inbox.listed("", "", ["unmapped"], 10))
        raised = await until(lambda: _sync_failures(site))

    assert [row["failure"] for row in waiting] == [f"order {lost.id} has not arrived yet"]
    assert lost.id in raised[0].description


IDS_OF_NO_ORDER = (rb'"9\u0000"', rb'"9\ud800"', b'"' + b"9" * 3_000 + b'"')
"""Two with a character that PostgreSQL does not keep, and one that is too long for an index."""


async def test_only_what_the_channel_signed_is_taken_and_a_hint_counts_once(site: Site) -> None:
    shop = site.shop
    body = (
        b'{"type":1,"tts_notification_id":"7","data":{"order_id":"9","order_status":"UNPAID","update_time":1700000000}}'
    )
    signed = webhook_headers(shop.app_key, shop.app_secret, body)
    async with site.running(subscribe=False) as listening, httpx2.AsyncClient(trust_env=False) as http:
        url = f"http://{listening.webhooks}/webhooks/{ACCOUNT}"

        async def answer(url: str, content: bytes, headers: dict[str, str]) -> int:
            return (await http.post(url, content=content, headers=headers)).status_code

        answers = [
            await answer(url, body, {}),
            await answer(url, body + b" ", signed),
            await answer(url.replace(ACCOUNT, "nobody"), body, signed),
            await answer(url, b"x" * (8 << 20) + b"x", signed),
            await answer(url, body, signed),
            await answer(url, body, signed),
            *[
                await answer(url, content, webhook_headers(shop.app_key, shop.app_secret, content))
                for content in (
                    b"{}",
                    b'{"type":1e999,"data":{}}',
                    *(body.replace(b'"9"', order_id) for order_id in IDS_OF_NO_ORDER),
                )
            ],
        ]
        metrics = (await http.get(f"http://{listening.metrics}/metrics")).text

    assert answers == [401, 401, 404, 413, *[200] * 7]
    for result, count in (("new", 1), ("duplicate", 1), ("unreadable", 5), ("bad_signature", 2), ("refused", 1)):
        assert f'truestock_channel_deliveries_total{{account="{ACCOUNT}",result="{result}"}} {count}.0' in metrics


@pytest.mark.long
async def test_a_dead_token_is_refreshed_once_and_a_withdrawn_permission_pauses_the_account(site: Site) -> None:
    async with site.running():
        site.shop.tokens.expire_access()
        for order in [_bought(site, {"MUG": 1}) for _ in range(8)]:
            await until(lambda order=order: _with_status(site, order.id, READY))  # type: ignore[misc]
        refreshes = site.shop.tokens.refreshes
        site.shop.deauthorize()
        site.shop.tokens.expire_access()
        raised = await until(lambda: _sync_failures(site))
        states = await site.store.states.listed()

    assert refreshes == 1
    assert "paused" in raised[0].description
    assert states[0]["pause_reason"] != ""


@pytest.mark.long
async def test_no_shoppers_name_street_phone_or_mail_address_is_kept(site: Site) -> None:
    async with site.running():
        order = _bought(site, {"MUG": 1})
        found = await until(lambda: _with_status(site, order.id, READY))
        kept = await channel_tables(site.retailer.database_url) + str(found)

    # Of the address it keeps what routing needs.
    assert found.allocation.destination_point.located_by == order_pb2.DestinationPoint.LOCATED_BY_POSTAL_CODE
    assert [text for text in site.shop.personal_data() if text in kept] == []


def _bought(site: Site, units: dict[str, int]) -> Order:
    order: Order | None = site.shop.books.buy(units)
    assert order is not None
    return order


async def _with_status(site: Site, order_id: str, status: int) -> Any:
    found = await site.order(order_id)
    return found if found is not None and found.allocation.status == status else None


async def _with_request(site: Site, order_id: str, state: int) -> Any:
    found = await site.order(order_id)
    return found if found.allocation.cancellation_request.state == state else None


async def _with_units(site: Site, order_id: str, units: int) -> Any:
    found = await site.order(order_id)
    return found if [line.unit_count for line in found.allocation.lines] == [units] else None


async def _with_promise(site: Site, order_id: str) -> Any:
    found = await site.order(order_id)
    return found if found is not None and any(line.promised_count for line in found.allocation.lines) else None


async def _sync_failures(site: Site) -> Any:
    return [found for found in await site.retailer.open_exceptions() if found.kind == "sync_failed"]


def _counts(found: Any) -> list[tuple[int, int]]:
    return [(line.unit_count, line.promised_count) for line in found.allocation.lines]
