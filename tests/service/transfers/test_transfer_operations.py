"""Transfers between two locations: unsellable in transit, received in parts, and missing units."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from service.transfers import transfer_store
from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.retailer import Retailer, change, movement, request_id
from tests.service.test_bad_input import refused
from truestock.v1 import catalog_service_pb2 as catalog_pb, stock_service_pb2 as stock_pb

State = stock_pb.Transfer.State
FAILED, INVALID = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """Ten mugs and three bowls in the warehouse, nothing in the store."""
    await retailer.stock({("MUG", "dc"): 10, ("BOWL", "dc"): 3})
    await retailer.locations("store")
    return retailer


def units(stated: Mapping[str, int]) -> list[stock_pb.TransferUnits]:
    return [stock_pb.TransferUnits(sku=sku, unit_count=count) for sku, count in stated.items()]


async def dispatch(
    shop: Retailer,
    transfer_id: str,
    stated: Mapping[str, int],
    *,
    way: tuple[str, str] = ("dc", "store"),
    expected: datetime | None = None,
    **fields: Any,
) -> stock_pb.Transfer:
    step = stock_pb.TransferDispatch(from_location_id=way[0], to_location_id=way[1], units=units(stated))
    if expected is not None:
        step.expect_time.FromDatetime(expected)
    request = stock_pb.TransferStockRequest(transfer_id=transfer_id, dispatch=step, **fields)
    transfer: stock_pb.Transfer = (await shop.stock_service.TransferStock(request)).transfer
    return transfer


async def receive(
    shop: Retailer, transfer_id: str, stated: Mapping[str, int], *, complete: bool = False, **fields: Any
) -> stock_pb.Transfer:
    step = stock_pb.TransferReceipt(units=units(stated), complete=complete)
    request = stock_pb.TransferStockRequest(transfer_id=transfer_id, receipt=step, **fields)
    transfer: stock_pb.Transfer = (await shop.stock_service.TransferStock(request)).transfer
    return transfer


async def on_hand(shop: Retailer, sku: str = "MUG") -> tuple[int, int]:
    """Units in the warehouse and in the store."""
    return (await shop.level(sku, "dc")).on_hand_count, (await shop.level(sku, "store")).on_hand_count


def lines(transfer: stock_pb.Transfer) -> dict[str, tuple[int, int]]:
    return {line.sku: (line.dispatched_count, line.received_count) for line in transfer.lines}


async def mismatches(shop: Retailer) -> list[Any]:
    return await shop.sql("SELECT subject, sku, location_id, description FROM exception WHERE kind = 'mismatch'")


async def test_units_in_transit_are_not_sellable(shop: Retailer) -> None:
    transfer = await dispatch(shop, "T-1", {"MUG": 4})

    assert transfer.state == State.STATE_IN_TRANSIT
    assert lines(transfer) == {"MUG": (4, 0)}
    assert await on_hand(shop) == (6, 0)
    assert await shop.sellable("MUG") == 6
    assert (await shop.ledger()).totals["in_transit_units"] == 4


async def test_received_units_are_sellable_at_the_destination(shop: Retailer) -> None:
    await dispatch(shop, "T-1", {"MUG": 4})

    transfer = await receive(shop, "T-1", {"MUG": 4})

    assert transfer.state == State.STATE_COMPLETED
    assert await on_hand(shop) == (6, 4)
    assert await shop.sellable("MUG") == 10
    assert not await mismatches(shop)
    assert (await shop.ledger()).balanced


async def test_a_transfer_may_arrive_in_parts(shop: Retailer) -> None:
    await dispatch(shop, "T-1", {"MUG": 4, "BOWL": 2})

    first = await receive(shop, "T-1", {"MUG": 3})
    second = await receive(shop, "T-1", {"MUG": 1, "BOWL": 2})

    assert (first.state, lines(first)) == (State.STATE_IN_TRANSIT, {"BOWL": (2, 0), "MUG": (4, 3)})
    assert (second.state, lines(second)) == (State.STATE_COMPLETED, {"BOWL": (2, 2), "MUG": (4, 4)})


async def test_received_units_fill_backorders_first(retailers: RetailerMaker) -> None:
    shop = await retailers.make(RESOLVED_RULES)
    await shop.stock({("MUG", "dc"): 4})
    await shop.locations("store")
    launch = catalog_pb.Product(sku="MUG", tags=["launch"])
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[launch]))
    await dispatch(shop, "T-1", {"MUG": 4})
    waiting = await shop.allocate("A-1", {"MUG": 3})

    await receive(shop, "T-1", {"MUG": 4})

    order = (await shop.get(waiting.allocation_id)).allocation
    assert waiting.lines[0].backordered_count == 3
    assert (order.lines[0].promised_count, order.lines[0].backordered_count) == (3, 0)
    assert await shop.sellable("MUG") == 1
    assert (await shop.ledger()).balanced


async def test_missing_units_of_a_completed_transfer_raise_a_mismatch(shop: Retailer) -> None:
    await dispatch(shop, "T-1", {"MUG": 4})

    transfer = await receive(shop, "T-1", {"MUG": 3}, complete=True)

    assert transfer.state == State.STATE_COMPLETED
    assert await on_hand(shop) == (6, 3)
    raised = await mismatches(shop)
    assert [(row["subject"], row["sku"], row["location_id"]) for row in raised] == [("T-1", "MUG", "store")]
    assert "1 unit of 'MUG' did not arrive" in raised[0]["description"]
    assert shop.metric("exceptions_total", kind="mismatch", channel="none") == 1
    assert (await shop.ledger()).totals["in_transit_units"] == 0


async def test_more_units_than_dispatched_are_received_and_raise_a_mismatch(shop: Retailer) -> None:
    await dispatch(shop, "T-1", {"MUG": 4})

    await receive(shop, "T-1", {"MUG": 6})

    assert await on_hand(shop) == (6, 6)
    assert "2 units of 'MUG' arrived that were not dispatched" in (await mismatches(shop))[0]["description"]
    assert (await shop.ledger()).balanced


async def test_only_available_units_can_be_dispatched(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 8})

    error = await refused(dispatch(shop, "T-1", {"MUG": 3, "BOWL": 1}))

    assert error.is_(FAILED, "TOO_MANY_UNITS", "dispatch.units[0].unit_count")
    assert "location 'dc' has 2 units of 'MUG' available, 3 requested" in error.message
    assert [(await shop.level(sku, "dc")).on_hand_count for sku in ("MUG", "BOWL")] == [10, 3]
    assert not await shop.sql("SELECT FROM transfer")


async def test_nothing_can_be_dispatched_from_a_location_without_stock(shop: Retailer) -> None:
    error = await refused(dispatch(shop, "T-1", {"MUG": 1}, way=("store", "dc")))

    assert error.is_(FAILED, "TOO_MANY_UNITS", "dispatch.units[0].unit_count")


async def test_a_repeated_dispatch_returns_the_current_transfer(shop: Retailer) -> None:
    await dispatch(shop, "T-1", {"MUG": 4})
    await receive(shop, "T-1", {"MUG": 1})

    again = await dispatch(shop, "T-1", {"MUG": 4})

    assert lines(again) == {"MUG": (4, 1)}
    assert await on_hand(shop) == (6, 1)


@pytest.mark.parametrize(
    ("stated", "way", "field"),
    [
        ({"MUG": 5}, ("dc", "store"), "dispatch.units"),
        ({"MUG": 4, "BOWL": 1}, ("dc", "store"), "dispatch.units"),
        ({"MUG": 4}, ("dc", "annex"), "dispatch.to_location_id"),
    ],
)
async def test_a_transfer_id_belongs_to_one_dispatch(
    shop: Retailer, stated: dict[str, int], way: tuple[str, str], field: str
) -> None:
    await shop.locations("annex")
    await dispatch(shop, "T-1", {"MUG": 4})

    error = await refused(dispatch(shop, "T-1", stated, way=way))

    assert error.is_(INVALID, "INVALID_FIELD", field)
    assert "use a new transfer_id for a new transfer" in error.message
    assert (await shop.level("MUG", "dc")).on_hand_count == 6


async def test_a_transfer_that_was_not_dispatched_cannot_be_received(shop: Retailer) -> None:
    error = await refused(receive(shop, "T-1", {"MUG": 1}))

    assert error.is_(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "transfer_id")
    assert "dispatch it first" in error.message


async def test_a_product_that_is_not_in_the_transfer_cannot_be_received(shop: Retailer) -> None:
    await dispatch(shop, "T-1", {"MUG": 4})

    error = await refused(receive(shop, "T-1", {"BOWL": 1}))

    assert error.is_(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "receipt.units[0].sku")
    assert "as found" in error.message


async def test_no_units_can_be_received_after_a_transfer_is_complete(shop: Retailer) -> None:
    await dispatch(shop, "T-1", {"MUG": 4})
    await receive(shop, "T-1", {"MUG": 3}, complete=True)

    error = await refused(receive(shop, "T-1", {"MUG": 1}))
    again = await receive(shop, "T-1", {}, complete=True)

    assert error.is_(FAILED, "WRONG_STATE")
    assert again.state == State.STATE_COMPLETED
    assert await on_hand(shop) == (6, 3)


@pytest.mark.parametrize(
    ("stated", "way", "field"),
    [
        ({"CUP": 1}, ("dc", "store"), "dispatch.units[0].sku"),
        ({"MUG": 1}, ("dc", "nowhere"), "dispatch.to_location_id"),
        ({"MUG": 1}, ("nowhere", "dc"), "dispatch.from_location_id"),
    ],
)
async def test_an_unknown_product_or_location_of_a_transfer_is_named(
    shop: Retailer, stated: dict[str, int], way: tuple[str, str], field: str
) -> None:
    error = await refused(dispatch(shop, "T-1", stated, way=way))

    assert error.is_(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", field)


async def test_every_wrong_field_of_a_transfer_is_named_at_once(shop: Retailer) -> None:
    step = stock_pb.TransferDispatch(
        from_location_id="dc", to_location_id="dc", units=[*units({"MUG": 0}), *units({"MUG": 2})]
    )

    error = await refused(
        shop.stock_service.TransferStock(stock_pb.TransferStockRequest(dispatch=step, request_id="1"))
    )

    fields = {"transfer_id", "request_id", "dispatch.to_location_id"}
    fields |= {"dispatch.units[0].unit_count", "dispatch.units[1].sku"}
    assert set(error.fields) == fields


@pytest.mark.parametrize("step", [{}, {"receipt": stock_pb.TransferReceipt()}])
async def test_a_transfer_needs_a_step_with_content(shop: Retailer, step: dict[str, Any]) -> None:
    error = await refused(shop.stock_service.TransferStock(stock_pb.TransferStockRequest(transfer_id="T-1", **step)))

    assert error.is_(INVALID, "INVALID_FIELD", "receipt.units" if step else "step")


async def test_a_feed_cannot_use_the_source_name_of_transfers(shop: Retailer) -> None:
    receipt = change("MUG", "dc", movement=movement(stock_pb.MOVEMENT_KIND_RECEIVED, 1))

    error = await refused(shop.record(receipt, source="transfers"))

    assert error.is_(INVALID, "INVALID_FIELD", "source")


async def test_incoming_units_are_shown_at_their_destination_earliest_first(shop: Retailer) -> None:
    today = datetime.now(UTC).replace(microsecond=0)
    await dispatch(shop, "T-1", {"MUG": 1})
    await dispatch(shop, "T-2", {"MUG": 2}, expected=today + timedelta(days=3))
    await dispatch(shop, "T-3", {"MUG": 3}, expected=today + timedelta(days=1))
    await receive(shop, "T-3", {"MUG": 1})
    await shop.sql(
        "INSERT INTO stock_incoming VALUES ('wms', 'PO-7', 'MUG', 'store', 40, $1, now())", today + timedelta(days=2)
    )

    level = await shop.level("MUG", "store")

    incoming = [
        (delivery.reference, delivery.unit_count, delivery.HasField("expect_time")) for delivery in level.incoming
    ]
    assert incoming == [("T-3", 2, True), ("PO-7", 40, True), ("T-2", 2, True), ("T-1", 1, False)]
    assert not (await shop.level("MUG", "dc")).incoming


async def test_a_store_that_was_never_counted_dates_its_stock_from_the_receipt(shop: Retailer) -> None:
    counted = (await shop.level("BOWL", "dc")).as_of_time
    await dispatch(shop, "T-1", {"MUG": 4})
    await dispatch(shop, "T-2", {"BOWL": 1})
    await receive(shop, "T-1", {"MUG": 4})
    await receive(shop, "T-2", {"BOWL": 1})
    await dispatch(shop, "T-3", {"BOWL": 1}, way=("store", "dc"))

    await receive(shop, "T-3", {"BOWL": 1})

    arrived, vouched = await shop.level("MUG", "store"), await shop.level("BOWL", "dc")
    assert (arrived.source, arrived.HasField("as_of_time")) == ("transfers", True)
    assert (vouched.source, vouched.as_of_time) == ("counter", counted)


async def test_transfers_are_listed_newest_first_in_pages(shop: Retailer) -> None:
    await shop.locations("annex")
    for number in range(5):
        await dispatch(shop, f"T-{number}", {"MUG": 1}, way=("dc", "annex" if number == 3 else "store"))
    await receive(shop, "T-4", {"MUG": 1})

    async def ids(**fields: Any) -> list[str]:
        transfer_ids: list[str] = []
        request = stock_pb.ListTransfersRequest(page_size=2, **fields)
        while True:
            page = await shop.stock_service.ListTransfers(request)
            transfer_ids += [transfer.transfer_id for transfer in page.transfers]
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return transfer_ids

    assert await ids() == ["T-4", "T-3", "T-2", "T-1", "T-0"]
    assert await ids(location_id="annex") == ["T-3"]
    assert await ids(location_id="store", in_transit_only=True) == ["T-2", "T-1", "T-0"]
    assert await ids(location_id="dc") == ["T-4", "T-3", "T-2", "T-1", "T-0"]


@pytest.mark.parametrize("in_transit_only", [False, True])
async def test_transfers_of_a_location_are_found_by_an_index(shop: Retailer, in_transit_only: bool) -> None:
    statement = transfer_store._listing(by_location=True, in_transit_only=in_transit_only)
    await shop.sql(
        "INSERT INTO transfer (id, from_location_id, to_location_id, dispatch_time) "
        "SELECT 'T-' || n, 'l' || n % 50, 'l' || (n + 1) % 50, now() - n * interval '1 minute' "
        "FROM generate_series(1, 5000) n"
    )
    await shop.sql("ANALYZE transfer")
    values = {"before_time": datetime.now(UTC), "before_id": "", "location_id": "l7", "count": 10}

    plan = "\n".join(row[0] for row in await shop.sql(f"EXPLAIN {statement.sql}", *statement.arguments(values)))

    assert "Seq Scan" not in plan
    assert "transfer_from_idx" in plan
    assert "transfer_open_idx" in plan or "transfer_to_idx" in plan


@pytest.mark.parametrize("token", ["!", "bm9uZQ==", "MjAyNi0xMS0yNx9U"])
async def test_a_page_token_of_something_else_is_refused(shop: Retailer, token: str) -> None:
    transfers = await refused(shop.stock_service.ListTransfers(stock_pb.ListTransfersRequest(page_token=token)))
    movements = stock_pb.ListStockMovementsRequest(page_token=token)

    assert transfers.is_(INVALID, "INVALID_FIELD", "page_token")
    assert (await refused(shop.stock_service.ListStockMovements(movements))).fields == ["page_token"]


async def test_a_dispatch_sent_50_times_at_once_is_dispatched_once(shop: Retailer) -> None:
    same = request_id()

    answers = await asyncio.gather(*(dispatch(shop, "T-1", {"MUG": 4}, request_id=same) for _ in range(50)))

    assert {answer.SerializeToString(deterministic=True) for answer in answers} == {
        answers[0].SerializeToString(deterministic=True)
    }
    assert await on_hand(shop) == (6, 0)
    assert (await shop.ledger()).balanced


async def test_50_dispatches_at_once_never_exceed_available_stock(shop: Retailer) -> None:
    async def dispatch_one(number: int) -> bool:
        try:
            await dispatch(shop, f"T-{number}", {"MUG": 1, "BOWL": 1}, request_id=request_id())
        except grpc.aio.AioRpcError as error:
            assert error.code() == FAILED  # noqa: PT017 - what else is raised fails the test as well
            return False
        return True

    dispatched = await asyncio.gather(*map(dispatch_one, range(50)))

    assert sum(dispatched) == 3
    assert [(await shop.level(sku, "dc")).on_hand_count for sku in ("MUG", "BOWL")] == [7, 0]
    assert (await shop.ledger()).totals["in_transit_units"] == 6


async def test_one_transfer_sent_50_times_with_different_request_ids_is_dispatched_once(shop: Retailer) -> None:
    await asyncio.gather(*(dispatch(shop, "T-1", {"MUG": 4}, request_id=request_id()) for _ in range(50)))

    assert await on_hand(shop) == (6, 0)
    assert (await shop.ledger()).balanced


async def test_dispatches_race_orders_for_the_last_units(shop: Retailer) -> None:
    async def dispatch_one(number: int) -> int:
        try:
            await dispatch(shop, f"T-{number}", {"MUG": 1})
        except grpc.aio.AioRpcError:
            return 0
        return 1

    async def sell_one(number: int) -> int:
        order = await shop.allocate(f"A-{number}", {"MUG": 1})
        return sum(line.promised_count for line in order.lines)

    unit_counts = await asyncio.gather(*(work(n) for n in range(25) for work in (dispatch_one, sell_one)))

    level = await shop.level("MUG", "dc")
    assert sum(unit_counts) == 10
    assert level.available_count == 0
    assert (await shop.ledger()).balanced


async def test_a_receipt_sent_50_times_at_once_is_received_once(shop: Retailer) -> None:
    await dispatch(shop, "T-1", {"MUG": 4})
    same = request_id()

    await asyncio.gather(*(receive(shop, "T-1", {"MUG": 2}, request_id=same) for _ in range(50)))

    assert await on_hand(shop) == (6, 2)


async def test_two_receipts_with_the_same_contents_both_count(shop: Retailer) -> None:
    await dispatch(shop, "T-1", {"MUG": 4})

    for _ in range(2):
        transfer = await receive(shop, "T-1", {"MUG": 2}, request_id=request_id())

    assert (transfer.state, lines(transfer)) == (State.STATE_COMPLETED, {"MUG": (4, 4)})
    assert await on_hand(shop) == (6, 4)


async def test_the_ledger_check_finds_a_transfer_that_differs_from_its_movements(shop: Retailer) -> None:
    await dispatch(shop, "T-1", {"MUG": 4})
    await shop.sql("UPDATE transfer_line SET dispatched = 5")

    report = await shop.ledger()

    assert report.difference_count == 1
    assert "T-1" in report.differences[0]


class TransferModel:
    """A plain model of transfers: units in the warehouse, in the store, and of each transfer."""

    def __init__(self, on_hand: int) -> None:
        self.dc, self.store = on_hand, 0
        self.transfers: dict[str, tuple[int, int, bool]] = {}

    def dispatch(self, transfer_id: str, count: int) -> bool:
        if transfer_id in self.transfers:
            return self.transfers[transfer_id][0] == count
        if count > self.dc:
            return False
        self.dc -= count
        self.transfers[transfer_id] = (count, 0, False)
        return True

    def receive(self, transfer_id: str, count: int, complete: bool) -> bool:
        if transfer_id not in self.transfers or (not count and not complete):
            return False
        dispatched, received, is_complete = self.transfers[transfer_id]
        if is_complete:
            return not count
        received += count
        self.store += count
        self.transfers[transfer_id] = (dispatched, received, complete or received >= dispatched)
        return True

    @property
    def in_transit(self) -> int:
        return sum(
            max(0, sent - received) for sent, received, is_complete in self.transfers.values() if not is_complete
        )


ids = st.sampled_from(["T-1", "T-2", "T-3"])
steps = st.one_of(
    st.tuples(st.just("dispatch"), ids, st.integers(1, 8), st.just(False)),
    st.tuples(st.just("receive"), ids, st.integers(0, 6), st.booleans()),
)


async def test_units_are_conserved_whatever_is_dispatched_received_and_completed(retailers: RetailerMaker) -> None:
    shop = await retailers.make()
    numbers = iter(range(10_000))
    loop = asyncio.get_running_loop()

    async def play(moves: list[tuple[str, str, int, bool]]) -> None:
        run = next(numbers)
        sku = f"MUG-{run}"
        await shop.stock({(sku, "dc"): 12})
        await shop.locations("store")
        model = TransferModel(12)
        for step, transfer_id, count, complete in moves:
            full_id = f"{run}/{transfer_id}"
            stated = {sku: count} if count else {}
            if step == "dispatch":
                expected = model.dispatch(full_id, count)
                call = dispatch(shop, full_id, stated)
            else:
                expected = model.receive(full_id, count, complete)
                call = receive(shop, full_id, stated, complete=complete)
            try:
                await call
                assert expected
            except grpc.aio.AioRpcError:
                assert not expected
        level = await shop.level(sku, "dc")
        received = await shop.sql("SELECT on_hand FROM stock_level WHERE sku = $1 AND location_id = 'store'", sku)
        in_transit = await shop.sql(
            "SELECT coalesce(sum(greatest(0, dispatched - received)), 0) AS units "
            "FROM transfer_line JOIN transfer ON id = transfer_id WHERE sku = $1 AND complete_time IS NULL",
            sku,
        )
        assert level.on_hand_count == model.dc
        assert (received[0]["on_hand"] if received else 0) == model.store
        assert in_transit[0]["units"] == model.in_transit
        assert (await shop.ledger()).balanced

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(steps, max_size=10))
    def played(moves: list[tuple[str, str, int, bool]]) -> None:
        asyncio.run_coroutine_threadsafe(play(moves), loop).result(timeout=60)

    await asyncio.to_thread(played)
