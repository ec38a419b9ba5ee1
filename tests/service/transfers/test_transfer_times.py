"""Steps of a transfer that are booked later than they happened: a count made meanwhile already includes them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.retailer import Retailer, change, refused, request_id
from truestock.v1 import catalog_service_pb2 as catalog_pb, stock_service_pb2 as stock_pb

State = stock_pb.Transfer.State
FAILED, INVALID = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT
NOW = datetime.now(UTC).replace(microsecond=0)


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """Ten mugs and ten bowls in the warehouse and none in the store, counted five hours ago."""
    await retailer.locations("dc", "store")
    products = [catalog_pb.Product(sku=sku) for sku in ("MUG", "BOWL")]
    await retailer.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products))
    await retailer.count(
        {("MUG", "dc"): 10, ("MUG", "store"): 0, ("BOWL", "dc"): 10, ("BOWL", "store"): 0}, at=ago(300)
    )
    return retailer


def stamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def units(stated: Mapping[str, int]) -> list[stock_pb.TransferUnits]:
    return [stock_pb.TransferUnits(sku=sku, unit_count=count) for sku, count in stated.items()]


async def dispatch(
    shop: Retailer,
    stated: Mapping[str, int],
    *,
    at: datetime | None = None,
    transfer_id: str = "T-1",
    **fields: Any,
) -> stock_pb.Transfer:
    step = stock_pb.TransferDispatch(
        from_location_id="dc", to_location_id="store", units=units(stated), effective_time=stamp(at)
    )
    request = stock_pb.TransferStockRequest(transfer_id=transfer_id, dispatch=step, **fields)
    transfer: stock_pb.Transfer = (await shop.stock_service.TransferStock(request)).transfer
    return transfer


async def receive(
    shop: Retailer, stated: Mapping[str, int], *, at: datetime | None = None, complete: bool = False
) -> stock_pb.Transfer:
    step = stock_pb.TransferReceipt(units=units(stated), effective_time=stamp(at), complete=complete)
    request = stock_pb.TransferStockRequest(transfer_id="T-1", receipt=step)
    transfer: stock_pb.Transfer = (await shop.stock_service.TransferStock(request)).transfer
    return transfer


async def cancel(
    shop: Retailer, *, at: datetime | None = None, transfer_id: str = "T-1", **fields: Any
) -> stock_pb.Transfer:
    request = stock_pb.CancelTransferRequest(transfer_id=transfer_id, effective_time=stamp(at), **fields)
    transfer: stock_pb.Transfer = (await shop.stock_service.CancelTransfer(request)).transfer
    return transfer


async def on_hand(shop: Retailer, sku: str = "MUG") -> tuple[int, int]:
    """Units in the warehouse and in the store."""
    return (await shop.level(sku, "dc")).on_hand_count, (await shop.level(sku, "store")).on_hand_count


async def incoming(shop: Retailer, sku: str = "MUG") -> int:
    return sum(delivery.unit_count for delivery in (await shop.level(sku, "store")).incoming)


# Counted before it was booked


async def test_a_shelf_counted_after_the_truck_was_unloaded_includes_what_it_brought(shop: Retailer) -> None:
    await dispatch(shop, {"MUG": 4}, at=ago(120))
    await shop.count({("MUG", "store"): 4}, at=ago(30))

    transfer = await receive(shop, {"MUG": 4}, at=ago(60))

    assert transfer.state == State.STATE_COMPLETED
    assert transfer.complete_time.ToDatetime(UTC) == ago(60)
    assert (await on_hand(shop), await incoming(shop)) == ((6, 4), 0)
    assert (await shop.ledger()).balanced


async def test_a_barn_counted_after_the_cart_left_excludes_what_it_took(shop: Retailer) -> None:
    await shop.count({("MUG", "dc"): 6}, at=ago(30))

    transfer = await dispatch(shop, {"MUG": 4}, at=ago(60))

    assert transfer.dispatch_time.ToDatetime(UTC) == ago(60)
    assert (await on_hand(shop), await incoming(shop)) == ((6, 0), 4)
    assert (await shop.ledger()).totals["in_transit_units"] == 4


@pytest.mark.parametrize(("minutes", "expected"), [(31, 6), (30, 6), (29, 2)])
async def test_a_step_at_the_very_time_of_a_count_is_in_it_and_a_later_one_is_not(
    shop: Retailer, minutes: float, expected: int
) -> None:
    await shop.count({("MUG", "dc"): 6}, at=ago(30))

    await dispatch(shop, {"MUG": 4}, at=ago(minutes))

    assert (await on_hand(shop))[0] == expected
    assert (await shop.ledger()).balanced


async def test_a_step_without_a_time_happens_now(shop: Retailer) -> None:
    await dispatch(shop, {"MUG": 4})
    await shop.count({("MUG", "dc"): 6, ("MUG", "store"): 1}, at=datetime.now(UTC))

    await receive(shop, {"MUG": 4})

    assert await on_hand(shop) == (6, 5)
    kinds = await shop.sql("SELECT kind, result FROM stock_movement WHERE source = 'transfers' ORDER BY kind DESC")
    assert [tuple(row) for row in kinds] == [("transferred_out", "accepted"), ("transferred_in", "accepted")]


async def test_each_product_of_a_transfer_is_held_against_its_own_count(shop: Retailer) -> None:
    await dispatch(shop, {"MUG": 4, "BOWL": 4}, at=ago(120))
    await shop.count({("MUG", "store"): 4}, at=ago(30))

    await receive(shop, {"MUG": 4, "BOWL": 4}, at=ago(60))

    assert (await on_hand(shop), await on_hand(shop, "BOWL")) == ((6, 4), (6, 4))
    results = await shop.sql("SELECT sku, result, on_hand_delta FROM stock_movement WHERE kind = 'transferred_in'")
    assert {tuple(row) for row in results} == {("MUG", "absorbed", 0), ("BOWL", "accepted", 4)}
    assert (await shop.ledger()).balanced


async def test_units_that_a_count_already_excludes_need_not_be_available_to_be_dispatched(shop: Retailer) -> None:
    await shop.count({("MUG", "dc"): 1, ("BOWL", "dc"): 1}, at=ago(30))

    error = await refused(dispatch(shop, {"MUG": 9, "BOWL": 9}, at=ago(10)))
    await dispatch(shop, {"MUG": 9, "BOWL": 9}, at=ago(60))

    assert error.code() == FAILED
    assert (await on_hand(shop), await incoming(shop)) == ((1, 0), 9)


async def test_a_count_that_arrives_late_and_lies_before_the_step_does_not_include_it(shop: Retailer) -> None:
    await dispatch(shop, {"MUG": 4}, at=ago(30))

    await shop.count({("MUG", "dc"): 9}, at=ago(60))

    assert (await on_hand(shop))[0] == 5


async def test_a_newer_version_of_a_count_with_an_earlier_time_gives_absorbed_steps_their_effect(
    shop: Retailer,
) -> None:
    """By its sequence the second count is the newer one, and it lies before the step that the first one included."""

    def counted(sequence: int, count: int, at: datetime) -> stock_pb.StockChange:
        return change("MUG", "dc", at=at, count=stock_pb.StockCount(on_hand_count=count), sequence=sequence)

    await shop.record(counted(1, 6, ago(30)), source="wms")
    await dispatch(shop, {"MUG": 4}, at=ago(60))

    await shop.record(counted(2, 9, ago(90)), source="wms")

    assert (await on_hand(shop))[0] == 5


@pytest.mark.parametrize("step", ["dispatch", "receipt", "cancellation"])
async def test_a_step_more_than_five_minutes_ahead_is_refused_and_changes_nothing(shop: Retailer, step: str) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=6)
    if step != "dispatch":
        await dispatch(shop, {"MUG": 4})
    calls = {
        "dispatch": lambda: dispatch(shop, {"MUG": 4}, at=ahead),
        "receipt": lambda: receive(shop, {"MUG": 4}, at=ahead),
        "cancellation": lambda: cancel(shop, at=ahead),
    }

    error = await refused(calls[step]())

    field = "effective_time" if step == "cancellation" else f"{step}.effective_time"
    assert (error.code(), error.details()) == (
        INVALID,
        f"{field}: is {ahead:%Y-%m-%d %H:%M:%S} UTC, more than 5 minutes in the future; check the clock of the sender",
    )
    assert await on_hand(shop) == (10 if step == "dispatch" else 6, 0)


@pytest.mark.parametrize("step", ["receipt", "cancellation"])
async def test_units_neither_arrive_nor_return_before_the_time_at_which_they_left(shop: Retailer, step: str) -> None:
    await dispatch(shop, {"MUG": 4}, at=ago(30))
    for minutes in (35.1, 200):
        call = receive(shop, {"MUG": 4}, at=ago(minutes)) if step == "receipt" else cancel(shop, at=ago(minutes))

        error = await refused(call)

        field = "effective_time" if step == "cancellation" else f"{step}.effective_time"
        assert (error.code(), error.details()) == (
            INVALID,
            (
                f"{field}: is {ago(minutes):%Y-%m-%d %H:%M:%S} UTC, before the dispatch of transfer 'T-1' at "
                f"{ago(30):%Y-%m-%d %H:%M:%S} UTC; state when the units moved after that"
            ),
        )
    assert (await on_hand(shop), await incoming(shop)) == ((6, 0), 4)
    assert (await dispatch(shop, {"MUG": 4})).state == State.STATE_IN_TRANSIT
    assert (await shop.ledger()).balanced


@pytest.mark.parametrize("step", ["receipt", "cancellation"])
async def test_a_step_that_precedes_its_dispatch_as_far_as_clocks_differ_is_at_the_dispatch(
    shop: Retailer, step: str
) -> None:
    await dispatch(shop, {"MUG": 4}, at=ago(30))
    for _ in range(2 if step == "cancellation" else 1):
        call = receive(shop, {"MUG": 4}, at=ago(35)) if step == "receipt" else cancel(shop, at=ago(35))

        transfer = await call

        assert transfer.complete_time.ToDatetime(UTC) == ago(30)
    assert await on_hand(shop) == ((6, 4) if step == "receipt" else (10, 0))
    assert (await shop.ledger()).balanced


@pytest.mark.parametrize(("minutes", "counted"), [(60, 30), (3, 2)])
async def test_units_may_arrive_before_a_dispatch_that_was_booked_late_without_a_time(
    shop: Retailer, minutes: float, counted: float
) -> None:
    await shop.count({("MUG", "store"): 4}, at=ago(counted))
    await dispatch(shop, {"MUG": 4})

    transfer = await receive(shop, {"MUG": 4}, at=ago(minutes))

    assert transfer.complete_time.ToDatetime(UTC) == ago(minutes)
    assert await on_hand(shop) == (6, 4)
    assert (await shop.ledger()).balanced


async def test_a_dispatch_repeated_with_another_time_is_refused(shop: Retailer) -> None:
    await dispatch(shop, {"MUG": 4}, at=ago(60))

    await dispatch(shop, {"MUG": 4}, at=ago(60))
    await dispatch(shop, {"MUG": 4})
    error = await refused(dispatch(shop, {"MUG": 4}, at=ago(59)))

    assert error.code() == INVALID
    assert "dispatch.effective_time: differs from the dispatch of transfer 'T-1'" in (error.details() or "")
    assert await on_hand(shop) == (6, 0)


# Called off


async def test_a_transfer_that_never_left_is_called_off_without_loss(shop: Retailer) -> None:
    await dispatch(shop, {"MUG": 4})

    transfer = await cancel(shop)

    assert transfer.state == State.STATE_CANCELLED
    assert transfer.HasField("complete_time")
    assert [(line.dispatched_count, line.received_count, line.returned_count) for line in transfer.lines] == [(4, 0, 4)]
    assert (await on_hand(shop), await incoming(shop)) == ((10, 0), 0)
    assert not await shop.open_exceptions()
    report = await shop.ledger()
    assert (report.balanced, report.totals["in_transit_units"]) == (True, 0)


async def test_units_of_a_called_off_transfer_that_arrived_stay_where_they_are(shop: Retailer) -> None:
    await dispatch(shop, {"MUG": 4, "BOWL": 3})
    await receive(shop, {"MUG": 1})

    await cancel(shop)

    assert (await on_hand(shop), await on_hand(shop, "BOWL")) == ((9, 1), (10, 0))
    assert not await shop.open_exceptions()
    assert (await shop.ledger()).balanced


async def test_more_units_than_dispatched_are_a_mismatch_even_if_the_rest_is_called_off(shop: Retailer) -> None:
    await dispatch(shop, {"MUG": 4, "BOWL": 3})
    await receive(shop, {"MUG": 6})

    await cancel(shop)

    assert (await on_hand(shop), await on_hand(shop, "BOWL")) == ((6, 6), (10, 0))
    (mismatch,) = await shop.open_exceptions()
    assert mismatch.description == (
        "Transfer 'T-1' from 'dc' to 'store' is cancelled, but 2 units of 'MUG' arrived that were not dispatched."
    )
    assert (await shop.ledger()).balanced


async def test_calling_off_a_transfer_again_changes_nothing(shop: Retailer) -> None:
    same = request_id()
    await dispatch(shop, {"MUG": 4})

    answers = [await cancel(shop, request_id=id) for id in (same, same, request_id(), "")]

    assert answers == answers[:1] * 4
    assert (await dispatch(shop, {"MUG": 4})).state == State.STATE_CANCELLED
    assert await on_hand(shop) == (10, 0)


@pytest.mark.parametrize("first", [60, None])
async def test_a_cancellation_repeated_with_another_time_is_refused(shop: Retailer, first: int | None) -> None:
    await dispatch(shop, {"MUG": 4}, at=ago(120))
    cancelled = await cancel(shop, at=ago(first) if first else None)

    again = [await cancel(shop, at=cancelled.complete_time.ToDatetime(UTC)), await cancel(shop)]
    error = await refused(cancel(shop, at=ago(59)))

    assert again == [cancelled] * 2
    assert error.code() == INVALID
    assert "effective_time: differs from the cancellation of transfer 'T-1'" in (error.details() or "")
    assert await on_hand(shop) == (10, 0)


async def test_a_complete_transfer_cannot_be_called_off(shop: Retailer) -> None:
    await dispatch(shop, {"MUG": 4})
    await receive(shop, {"MUG": 4})

    error = await refused(cancel(shop))

    assert error.code() == FAILED
    assert "is completed, so it cannot become cancelled; all units were received" in (error.details() or "")
    assert await on_hand(shop) == (6, 4)


async def test_a_transfer_whose_loss_is_booked_cannot_be_called_off(shop: Retailer) -> None:
    await dispatch(shop, {"MUG": 4})
    await receive(shop, {"MUG": 1}, complete=True)

    error = await refused(cancel(shop))

    assert "3 units did not arrive and are recorded as lost" in (error.details() or "")
    assert await on_hand(shop) == (6, 1)


@pytest.mark.parametrize("complete", [False, True])
async def test_a_called_off_transfer_receives_nothing(shop: Retailer, complete: bool) -> None:
    await dispatch(shop, {"MUG": 4})
    await cancel(shop)

    error = await refused(receive(shop, {} if complete else {"MUG": 1}, complete=complete))

    assert error.code() == FAILED
    assert "is cancelled, so it cannot become received" in (error.details() or "")
    assert await on_hand(shop) == (10, 0)


async def test_a_transfer_that_was_not_dispatched_cannot_be_called_off(shop: Retailer) -> None:
    assert (await refused(cancel(shop))).code() == grpc.StatusCode.NOT_FOUND


async def test_units_of_a_called_off_transfer_fill_backorders(retailers: RetailerMaker) -> None:
    shop = await retailers.make(RESOLVED_RULES)
    await shop.stock({("MUG", "dc"): 4})
    await shop.locations("store")
    launch = catalog_pb.Product(sku="MUG", tags=["launch"])
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[launch]))
    await dispatch(shop, {"MUG": 4})
    waiting = await shop.allocate("A-1", {"MUG": 3})

    await cancel(shop)

    order = (await shop.get(waiting.allocation_id)).allocation
    assert (waiting.lines[0].backordered_count, order.lines[0].promised_count) == (3, 3)


# Called off, and the origin was counted meanwhile


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        pytest.param(6, 10, id="the truck stood in the yard and nobody counted its load"),
        pytest.param(10, 10, id="the units never left the shelf, and were counted there"),
        pytest.param(8, 10, id="two of them were on the shelf"),
        pytest.param(5, 9, id="one more was missing on the shelf"),
        pytest.param(12, 12, id="the count found two more"),
    ],
)
@pytest.mark.parametrize("booked_late", [False, True])
async def test_units_that_a_count_found_are_not_added_a_second_time_when_their_transfer_is_called_off(
    shop: Retailer, counted: int, expected: int, booked_late: bool
) -> None:
    if booked_late:
        await shop.count({("MUG", "dc"): counted}, at=ago(30))
    await dispatch(shop, {"MUG": 4}, at=ago(60))
    if not booked_late:
        await shop.count({("MUG", "dc"): counted}, at=ago(30))

    await cancel(shop)

    assert await on_hand(shop) == (expected, 0)
    assert (await shop.ledger()).balanced


@pytest.mark.parametrize(("minutes", "expected"), [(45, 6), (30, 6), (15, 10)])
async def test_a_stated_time_of_return_decides_whether_a_count_includes_the_units(
    shop: Retailer, minutes: float, expected: int
) -> None:
    await dispatch(shop, {"MUG": 4}, at=ago(60))
    await shop.count({("MUG", "dc"): 6}, at=ago(30))

    await cancel(shop, at=ago(minutes))

    assert await on_hand(shop) == (expected, 0)
    assert (await shop.ledger()).balanced


async def test_a_count_that_arrives_after_the_cancellation_does_not_add_units_that_never_left(shop: Retailer) -> None:
    await dispatch(shop, {"MUG": 4}, at=ago(120))
    await shop.count({("MUG", "dc"): 10}, at=ago(60))
    await cancel(shop)

    await shop.count({("MUG", "dc"): 10}, at=ago(30))

    assert await on_hand(shop) == (10, 0)
    assert (await shop.ledger()).balanced


@dataclass(frozen=True)
class _CountedTransfer:
    """Four of ten mugs are dispatched two hours ago and called off; some of them never left the shelf."""

    never_left: int
    counts_before: list[int]
    """Minutes ago of the counts that arrive before the cancellation, in any order, also before the dispatch."""
    counts_after: list[int]
    """Minutes ago of the counts that arrive after the cancellation."""
    dispatch_arrives: int
    """How many counts arrive before the dispatch."""


@st.composite
def _counted_transfers(draw: st.DrawFn) -> _CountedTransfer:
    minutes = draw(st.lists(st.integers(5, 110), min_size=1, max_size=4, unique=True))
    seen = draw(st.integers(1, len(minutes)))
    return _CountedTransfer(
        never_left=draw(st.integers(0, 4)),
        counts_before=minutes[:seen],
        counts_after=minutes[seen:],
        dispatch_arrives=draw(st.integers(0, seen)),
    )


async def test_units_of_a_called_off_transfer_are_added_once_in_whatever_order_its_counts_arrive(
    retailers: RetailerMaker,
) -> None:
    shop = await retailers.make()
    await shop.locations("dc", "store")
    numbers, loop = itertools.count(), asyncio.get_running_loop()

    async def play(case: _CountedTransfer) -> None:
        number = next(numbers)
        sku, transfer_id = f"MUG-{number}", f"T-{number}"
        await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku=sku)]))
        await shop.count({(sku, "dc"): 10}, at=ago(300))
        for minutes in case.counts_before[: case.dispatch_arrives]:
            await shop.count({(sku, "dc"): 6 + case.never_left}, at=ago(minutes))
        await dispatch(shop, {sku: 4}, at=ago(120), transfer_id=transfer_id)
        for minutes in case.counts_before[case.dispatch_arrives :]:
            await shop.count({(sku, "dc"): 6 + case.never_left}, at=ago(minutes))
        await cancel(shop, transfer_id=transfer_id)
        for minutes in case.counts_after:
            await shop.count({(sku, "dc"): 6 + case.never_left}, at=ago(minutes))
        assert (await shop.level(sku, "dc")).on_hand_count == 10

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(_counted_transfers())
    def played(case: _CountedTransfer) -> None:
        asyncio.run_coroutine_threadsafe(play(case), loop).result(timeout=60)

    await asyncio.to_thread(played)
    assert (await shop.ledger()).balanced
