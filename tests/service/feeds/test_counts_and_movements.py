"""Counts and movements as adapters send them, in any order of arrival, on a real database."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from service.database.database import plain_url
from service.stock import count_learning, levels
from tests.conftest import RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, bad_fields, change, movement, refused, request_id
from truestock.v1 import (
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    stock_service_pb2 as stock_pb,
)

ChangeResult = stock_pb.StockChangeResult
NINE = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=30)
RECEIVED, TILL_SALE = stock_pb.MOVEMENT_KIND_RECEIVED, stock_pb.MOVEMENT_KIND_SOLD
RETURNED = stock_pb.MOVEMENT_KIND_RETURNED
ADJUSTED, SET_ASIDE = stock_pb.MOVEMENT_KIND_ADJUSTED, stock_pb.MOVEMENT_KIND_SET_ASIDE
DAMAGED, DISPLAY = stock_pb.UNAVAILABLE_REASON_DAMAGED, stock_pb.UNAVAILABLE_REASON_DISPLAY


def at(minutes: float) -> datetime:
    return NINE + timedelta(minutes=minutes)


def counted(units: int, **more: Any) -> stock_pb.StockCount:
    return stock_pb.StockCount(on_hand_count=units, **more)


def sold_then_counted(units: int, after: int) -> stock_pb.CountedMovement:
    return stock_pb.CountedMovement(movement=movement(TILL_SALE, units), count=counted(after))


def aside(reason: int, units: int) -> stock_pb.StockMovement:
    return stock_pb.StockMovement(kind=SET_ASIDE, unit_count=units, reason=reason)  # type: ignore[arg-type]


async def create_uncounted(retailer: Retailer, *skus: str, location_id: str = "dc") -> None:
    """Products and a location, never counted."""
    await retailer.locations(location_id)
    products = [catalog_pb.Product(sku=sku) for sku in skus]
    await retailer.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products))


async def by_reason(retailer: Retailer) -> dict[str, int]:
    rows = await retailer.sql("SELECT reason, unit_count FROM stock_unavailable WHERE unit_count > 0")
    return {row["reason"]: row["unit_count"] for row in rows}


async def test_a_till_that_was_offline_ends_at_93_in_every_order_of_arrival(retailer: Retailer) -> None:
    # Counts of 100 and 97; then, offline and sent together: 95, 95 and 93, each after its sale.
    reports: list[tuple[int, dict[str, Any]]] = [
        (0, {"count": counted(100)}),
        (10, {"count": counted(97)}),
        (20, {"counted_movement": sold_then_counted(2, 95)}),
        (25, {"count": counted(95)}),
        (30, {"counted_movement": sold_then_counted(2, 93)}),
    ]
    orders = list(itertools.permutations(range(len(reports))))
    await create_uncounted(retailer, *(f"SKU-{number}" for number in range(len(orders))))

    # One message for each position: every product gets the same changes in an order of its own.
    for position in range(len(reports)):
        changes = [
            change(f"SKU-{number}", "dc", at=at(reports[order[position]][0]), **reports[order[position]][1])
            for number, order in enumerate(orders)
        ]
        await retailer.record(*changes, source="square")

    rows = await retailer.sql("SELECT DISTINCT on_hand FROM stock_level")
    assert [row["on_hand"] for row in rows] == [93]
    assert (await retailer.ledger()).balanced


async def test_a_counted_movement_older_than_the_last_count_changes_nothing(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG")
    await retailer.record(change("MUG", "dc", at=at(15.5 * 60), count=counted(40)))

    results = await retailer.record(change("MUG", "dc", at=at(0), counted_movement=sold_then_counted(2, 50)))

    assert (results[0].result, results[0].on_hand_count) == (ChangeResult.CHANGE_RESULT_STALE, 40)
    rows = await retailer.sql(
        "SELECT kind, result, reported_count FROM stock_movement WHERE effective_time = $1", at(0)
    )
    assert {tuple(row.values()) for row in rows} == {("sold", "absorbed", 2), ("counted", "stale", 50)}


async def test_the_ledger_shows_a_counted_movement_by_its_kind(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG")
    await retailer.record(change("MUG", "dc", at=at(0), count=counted(50)))

    await retailer.record(change("MUG", "dc", at=at(5), counted_movement=sold_then_counted(2, 47)))

    assert (await retailer.level("MUG", "dc")).on_hand_count == 47
    kinds = (await retailer.ledger()).on_hand_by_kind
    assert (kinds["sold"], kinds["counted"]) == (-2, 49)


async def test_a_long_number_as_a_sku_survives_unchanged(retailer: Retailer) -> None:
    sku = "1732301361504355959"
    await create_uncounted(retailer, sku)

    await retailer.record(change(sku, "dc", at=at(0), count=counted(3)))

    assert (await retailer.level(sku, "dc")).sku == sku


async def test_new_changes_of_a_batch_apply_when_others_are_duplicates(retailer: Retailer) -> None:
    skus = [f"P-{n}" for n in range(100)]
    await create_uncounted(retailer, *skus)
    batch = [change(sku, "dc", at=at(0), change_id=f"count-{sku}", count=counted(7)) for sku in skus]
    await retailer.record(*batch[:40])

    results = await retailer.record(*batch)

    assert [r.result for r in results] == [ChangeResult.CHANGE_RESULT_DUPLICATE] * 40 + [
        ChangeResult.CHANGE_RESULT_ACCEPTED
    ] * 60
    rows = await retailer.sql("SELECT sum(on_hand) AS units FROM stock_level")
    assert rows[0]["units"] == 700


async def test_counts_with_sequences_10_12_11_end_at_12_whatever_their_times(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG")
    for sequence, minute in ((10, 5), (12, 2), (11, 9)):
        await retailer.record(change("MUG", "dc", at=at(minute), sequence=sequence, count=counted(sequence)))

    assert (await retailer.level("MUG", "dc")).on_hand_count == 12


async def test_a_movement_is_added_to_a_newer_count_with_an_earlier_time(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG")
    await retailer.record(change("MUG", "dc", at=at(9), sequence=1, count=counted(50)))
    await retailer.record(change("MUG", "dc", at=at(7), movement=movement(TILL_SALE, 4)))

    await retailer.record(change("MUG", "dc", at=at(5), sequence=2, count=counted(60)))

    assert (await retailer.level("MUG", "dc")).on_hand_count == 56
    assert (await retailer.ledger()).balanced


async def test_an_untracked_product_is_not_sold_and_keeps_its_figures(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG")
    await retailer.record(change("MUG", "dc", at=at(0), count=counted(8)))
    before = await retailer.allocate("1", {"MUG": 3}, SOLD)

    await retailer.record(change("MUG", "dc", at=at(5), untracked=stock_pb.Untracked()))
    refused = await retailer.allocate("2", {"MUG": 1}, HOLD)

    level = await retailer.level("MUG", "dc")
    assert (level.on_hand_count, level.allocated_count) == (8, 3)
    assert await retailer.sellable("MUG") == 0
    request = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["MUG"], include_locations=True)
    answer = await retailer.availability.CheckAvailability(request)
    assert answer.availabilities[0].locations[0].reasons == ["untracked"]
    assert not refused.shipments
    assert [candidate.reason for candidate in refused.decision.dropped_candidates] == ["untracked"]
    assert (await retailer.get(before.allocation_id)).allocation.shipments


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_a_later_count_resumes_tracking_in_any_order_of_arrival(
    retailer: Retailer, order: tuple[int, ...]
) -> None:
    await create_uncounted(retailer, "MUG", "BOWL")
    changes = [
        change("MUG", "dc", at=at(0), count=counted(8)),
        change("MUG", "dc", at=at(5), untracked=stock_pb.Untracked()),
        change("MUG", "dc", at=at(9), count=counted(6)),
        change("BOWL", "dc", at=at(0), count=counted(8)),
        change("BOWL", "dc", at=at(5), untracked=stock_pb.Untracked()),
        change("BOWL", "dc", at=at(3), count=counted(7)),
    ]
    for index in order:
        await retailer.record(changes[index], changes[3 + index])

    assert (await retailer.sellable("MUG"), await retailer.sellable("BOWL")) == (6, 0)


async def test_units_are_set_aside_and_put_back_for_their_reason(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG")
    put_back = stock_pb.StockMovement(kind=stock_pb.MOVEMENT_KIND_PUT_BACK, unit_count=1, reason=DISPLAY)
    await retailer.record(change("MUG", "dc", at=at(0), count=counted(10)))

    await retailer.record(
        change("MUG", "dc", at=at(1), movement=aside(DAMAGED, 2)),
        change("MUG", "dc", at=at(2), movement=aside(DISPLAY, 3)),
        change("MUG", "dc", at=at(3), movement=put_back),
    )

    level = await retailer.level("MUG", "dc")
    assert (level.on_hand_count, level.unavailable_count, level.available_count) == (10, 4, 6)
    assert await by_reason(retailer) == {"damaged": 2, "display": 2}
    assert (await retailer.ledger()).balanced


async def test_units_set_aside_after_a_count_are_added_to_its_unavailable_units(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG")
    stated = [stock_pb.UnavailableUnits(reason=DAMAGED, unit_count=4)]
    await retailer.record(change("MUG", "dc", at=at(9), movement=aside(DISPLAY, 1)))

    await retailer.record(change("MUG", "dc", at=at(5), count=counted(10, unavailable=stated)))
    late = await retailer.record(change("MUG", "dc", at=at(4), movement=aside(DISPLAY, 5)))

    assert late[0].result == ChangeResult.CHANGE_RESULT_ABSORBED
    assert await by_reason(retailer) == {"damaged": 4, "display": 1}
    assert (await retailer.ledger()).balanced


async def test_a_smaller_total_of_unavailable_units_is_subtracted_from_other_first(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG")
    await retailer.record(change("MUG", "dc", at=at(0), count=counted(10, unavailable_count=3)))
    await retailer.record(change("MUG", "dc", at=at(1), movement=aside(DAMAGED, 2)))

    await retailer.record(change("MUG", "dc", at=at(2), count=counted(10, unavailable_count=1)))
    some = await by_reason(retailer)
    await retailer.record(change("MUG", "dc", at=at(3), count=counted(10, unavailable_count=0)))

    assert (some, await by_reason(retailer)) == ({"damaged": 1}, {})
    assert (await retailer.ledger()).balanced


async def test_a_count_by_a_person_is_certain_and_a_wrong_one_makes_later_figures_less_so(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG", "BOWL")
    days = timedelta(days=1)
    now = datetime.now(UTC)
    for sku in ("MUG", "BOWL"):
        await retailer.record(change(sku, "dc", at=now - 40 * days, count=counted(10)))
    before = await retailer.level("MUG", "dc")
    await retailer.record(change("MUG", "dc", at=now - 20 * days, count=counted(10)))
    await retailer.record(change("BOWL", "dc", at=now - 20 * days, count=counted(3)))
    right, wrong = [(await retailer.level(sku, "dc")).count_confidence for sku in ("MUG", "BOWL")]
    await retailer.count({("BOWL", "dc"): 4}, at=datetime.now(UTC))
    just_counted = await retailer.level("BOWL", "dc")

    # 40 days after the only count: (76 / 116) ** 0.5.
    assert before.count_confidence == 0.809
    assert right > 0.88
    assert wrong < 0.75
    assert just_counted.count_confidence == 1


async def test_each_delivery_or_sale_since_the_count_makes_a_figure_less_certain(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG")
    now = datetime.now(UTC)
    await retailer.record(change("MUG", "dc", at=now - timedelta(minutes=30), count=counted(10)))
    for units in (2, 3):
        await retailer.record(change("MUG", "dc", at=now - timedelta(minutes=20), movement=movement(RECEIVED, units)))
    moved_twice = await retailer.level("MUG", "dc")
    # A late sale of the day before the count is part of the count.
    await retailer.record(change("MUG", "dc", at=now - timedelta(days=1), movement=movement(TILL_SALE, 1)))
    # This count lies between the two deliveries and what follows: they have moved since.
    late = change("MUG", "dc", at=now - timedelta(minutes=25), count=counted(10))
    sale = change("MUG", "dc", at=now - timedelta(minutes=5), movement=movement(TILL_SALE, 1))
    await retailer.record(late, sale)

    assert moved_twice.count_confidence == round((76 / 78) ** 0.5, 3)
    assert (await retailer.level("MUG", "dc")).count_confidence == round((76 / 79) ** 0.5, 3)
    assert (await retailer.sql("SELECT movements_since_count FROM stock_level"))[0][0] == 3


@pytest.mark.parametrize("in_one_call", [True, False])
async def test_a_sale_and_a_return_are_two_movements_since_the_count_in_one_call_or_two(
    retailer: Retailer, in_one_call: bool
) -> None:
    await create_uncounted(retailer, "MUG")
    now = datetime.now(UTC)
    await retailer.record(change("MUG", "dc", at=now - timedelta(minutes=30), count=counted(10)))
    sale = change("MUG", "dc", at=now - timedelta(minutes=20), movement=movement(TILL_SALE, 1))
    back = change("MUG", "dc", at=now - timedelta(minutes=10), movement=movement(RETURNED, 1))

    for changes in [(sale, back)] if in_one_call else [(sale,), (back,)]:
        await retailer.record(*changes)

    assert (await retailer.level("MUG", "dc")).on_hand_count == 10
    assert (await retailer.sql("SELECT movements_since_count FROM stock_level"))[0][0] == 2


@pytest.mark.parametrize("by", ["the count", "the feed"])
async def test_a_program_that_writes_figures_is_no_evidence_of_their_truth(retailer: Retailer, by: str) -> None:
    await create_uncounted(retailer, "MUG", "BOWL")
    days, now = timedelta(days=1), datetime.now(UTC)
    more: dict[str, Any] = {"computed": True} if by == "the count" else {}
    if by == "the feed":
        feed = catalog_pb.Feed(source="till", role=catalog_pb.Feed.ROLE_OWNER, computed=True)
        await retailer.catalog.UpsertFeeds(catalog_pb.UpsertFeedsRequest(feeds=[feed]))
    await retailer.record(change("MUG", "dc", at=now - 10 * days, count=counted(10, computed=False)), source="till")
    person = await retailer.level("MUG", "dc")
    for day, units in ((3, 9), (2, 4), (1, 7)):
        at = now - day * days
        exports = [change(sku, "dc", at=at, count=counted(units, **more)) for sku in ("MUG", "BOWL")]
        await retailer.record(*exports, source="till")
    program, uncounted = [await retailer.level(sku, "dc") for sku in ("MUG", "BOWL")]

    assert (person.on_hand_count, program.on_hand_count) == (10, 7)
    assert program.count_confidence == person.count_confidence == 0.94
    assert program.physical_count_time == person.physical_count_time
    assert not uncounted.HasField("count_confidence")
    assert not uncounted.HasField("physical_count_time")
    assert await retailer.sql("SELECT * FROM location_count_history") == []


async def test_a_store_whose_counts_prove_wrong_is_trusted_less_for_its_other_products_too(retailer: Retailer) -> None:
    skus = [f"P{number}" for number in range(20)]
    await create_uncounted(retailer, "MUG", *skus)
    days, now = timedelta(days=1), datetime.now(UTC)
    at_first = [change(sku, "dc", at=now - 30 * days, count=counted(10)) for sku in ("MUG", *skus)]
    await retailer.record(*at_first)
    before = await retailer.level("MUG", "dc")

    await retailer.record(*(change(sku, "dc", at=now - days, count=counted(8)) for sku in skus))

    after = await retailer.level("MUG", "dc")
    assert before.count_confidence == 0.847
    assert after.count_confidence < 0.7


async def test_units_that_a_location_does_not_find_halve_the_confidence_until_a_person_counts(
    retailer: Retailer,
) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    await retailer.count({("MUG", "dc"): 5}, at=datetime.now(UTC))
    key = ("MUG", "dc")

    connection = await asyncpg.connect(plain_url(retailer.database_url))
    async with connection.transaction():
        book = await levels.open_book(connection, await levels.lock(connection, {"MUG"}), uuid.uuid4)
        locations = await count_learning.record_failed_picks(connection, book, [key, key])
        await locations.write(connection)
    await connection.close()

    not_found = await retailer.level("MUG", "dc")
    await retailer.record(change("MUG", "dc", at=datetime.now(UTC), count=counted(4, computed=True)))
    program = await retailer.level("MUG", "dc")
    await retailer.record(change("MUG", "dc", at=datetime.now(UTC), count=counted(4)))

    assert not_found.count_confidence == program.count_confidence == book.levels[key].count_confidence == 0.25
    assert (await retailer.level("MUG", "dc")).count_confidence == 1
    # Two picks between two counts have shown one error.
    assert (await retailer.sql("SELECT count_errors FROM stock_level"))[0][0] == 1
    assert (await retailer.sql("SELECT errors FROM location_count_history"))[0][0] == 1


async def test_two_counts_of_one_moment_raise_a_mismatch_that_a_recount_resolves(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG")
    await retailer.record(change("MUG", "dc", at=at(0), count=counted(8)))
    await retailer.record(change("MUG", "dc", at=at(0), count=counted(9)))
    raised = await retailer.sql("SELECT state, description FROM exception WHERE kind = 'mismatch'")

    await retailer.record(change("MUG", "dc", at=at(1), count=counted(9)))

    assert [row["state"] for row in raised] == ["open"]
    assert "count again" in raised[0]["description"]
    resolved = await retailer.sql("SELECT state, resolution FROM exception WHERE kind = 'mismatch'")
    assert [tuple(row.values()) for row in resolved] == [("resolved", "stock_corrected")]


async def test_incoming_units_shrink_as_they_arrive_and_are_not_sold(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG")
    announced_delivery = stock_pb.IncomingUnits(reference="PO-1", unit_count=30)
    arrival = stock_pb.StockMovement(kind=RECEIVED, unit_count=12, incoming_reference="PO-1")
    incoming_units = "SELECT unit_count FROM stock_incoming"

    await retailer.record(change("MUG", "dc", at=at(0), incoming=announced_delivery), source="erp")
    sellable_before = await retailer.sellable("MUG")
    await retailer.record(change("MUG", "dc", at=at(1), movement=arrival), source="wms")
    remaining = await retailer.sql(incoming_units)
    await retailer.record(change("MUG", "dc", at=at(2), movement=arrival, change_id="rest"), source="wms")
    await retailer.record(
        change("MUG", "dc", at=at(3), incoming=stock_pb.IncomingUnits(reference="PO-1")), source="erp"
    )

    assert (sellable_before, await retailer.sellable("MUG")) == (0, 24)
    assert [row["unit_count"] for row in remaining] == [18]
    assert not await retailer.sql(incoming_units)


async def test_units_are_adjusted_up_and_down(retailer: Retailer) -> None:
    await retailer.stock({("I", "first"): 2, ("I", "second"): 2})
    now = datetime.now(UTC)

    await retailer.record(
        change("I", "first", at=now, movement=movement(ADJUSTED, 2)),
        change("I", "second", at=now, movement=movement(ADJUSTED, -1)),
    )

    assert [(await retailer.level("I", location_id)).on_hand_count for location_id in ("first", "second")] == [4, 1]


async def test_received_units_are_added_to_sold_units_that_have_not_shipped(retailer: Retailer) -> None:
    await retailer.stock({("A", "s"): 30})
    await retailer.allocate("1", {"A": 29}, SOLD)

    await retailer.record(change("A", "s", at=datetime.now(UTC), movement=movement(RECEIVED, 50)))

    level = await retailer.level("A", "s")
    assert (level.on_hand_count, level.available_count) == (80, 51)


async def test_fifty_calls_with_one_request_id_count_once_and_with_fifty_ids_fifty_times(
    retailers: RetailerMaker,
) -> None:
    shops = [await retailers.make(), await retailers.make()]
    await shops[0].stock({("MUG", "dc"): 0, ("BOWL", "dc"): 0})
    now = datetime.now(UTC)
    repeated = stock_pb.RecordStockChangesRequest(
        source="wms", request_id=request_id(), changes=[change("MUG", "dc", at=now, movement=movement(RECEIVED, 1))]
    )
    distinct = [
        stock_pb.RecordStockChangesRequest(
            source="wms",
            request_id=request_id(),
            changes=[change("BOWL", "dc", at=now, movement=movement(RECEIVED, 1))],
        )
        for _ in range(50)
    ]

    calls = [
        shops[n % 2].stock_service.RecordStockChanges(request) for n, request in enumerate([repeated] * 50 + distinct)
    ]
    answers = await asyncio.gather(*calls)

    assert {answer.results[0].result for answer in answers} == {ChangeResult.CHANGE_RESULT_ACCEPTED}
    assert [(await shops[0].level(sku, "dc")).on_hand_count for sku in ("MUG", "BOWL")] == [1, 50]
    assert (await shops[0].ledger()).balanced


async def test_every_wrong_field_of_a_change_is_named(retailer: Retailer) -> None:
    late = counted(5, unavailable_count=1, unavailable=[stock_pb.UnavailableUnits(reason=DAMAGED, unit_count=2)] * 2)
    late.orders_until_time.FromDatetime(at(9))
    changes = [
        change("MUG", "dc", at=at(0), count=late),
        change("MUG", "dc", at=at(0), counted_movement=stock_pb.CountedMovement(movement=aside(DISPLAY, 1))),
        change("MUG", "dc", at=at(0), incoming=stock_pb.IncomingUnits(unit_count=-1)),
    ]

    assert bad_fields(await refused(retailer.record(*changes))) == {
        "changes[0].count.unavailable[1].reason",
        "changes[0].count.unavailable",
        "changes[0].count.orders_until_time",
        "changes[1].counted_movement.count",
        "changes[1].counted_movement.movement.kind",
        "changes[2].incoming.reference",
        "changes[2].incoming.unit_count",
    }


CHANGE_FIELDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "count": lambda units: {"count": counted(units)},
    "sale": lambda units: {"movement": movement(TILL_SALE, units)},
    "receipt": lambda units: {"movement": movement(RECEIVED, units)},
    "both": lambda units: {"counted_movement": sold_then_counted(1, units)},
}
CHANGES = st.lists(st.tuples(st.sampled_from(sorted(CHANGE_FIELDS)), st.integers(1, 20)), min_size=2, max_size=6)


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(changes=CHANGES, data=st.data())
async def test_any_changes_end_at_one_figure_in_any_order(
    retailer: Retailer, changes: list[tuple[str, int]], data: st.DataObject
) -> None:
    skus = [f"{request_id()[:18]}-{number}" for number in range(4)]
    await create_uncounted(retailer, *skus)
    fields = [CHANGE_FIELDS[kind](units) for kind, units in changes]
    orders_of_arrival = [list(range(len(changes)))] + [
        data.draw(st.permutations(range(len(changes)))) for _ in skus[1:]
    ]
    for position in range(len(changes)):
        await retailer.record(
            *(
                change(
                    sku, "dc", at=at(orders_of_arrival[number][position]), **fields[orders_of_arrival[number][position]]
                )
                for number, sku in enumerate(skus)
            )
        )

    assert len({(await retailer.level(sku, "dc")).on_hand_count for sku in skus}) == 1
    assert (await retailer.ledger()).balanced
