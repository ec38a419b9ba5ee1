"""Who gets the last unit when several orders want it."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, order_request, promised
from truestock.v1 import catalog_service_pb2 as catalog_pb


@pytest.mark.parametrize("commitments", [(HOLD, SOLD), (SOLD, HOLD), (HOLD, HOLD), (SOLD, SOLD)])
async def test_the_first_order_of_a_batch_gets_the_last_unit_whatever_its_commitment_and_priority(
    retailer: Retailer, commitments: tuple[int, int]
) -> None:
    await retailer.stock({("MUG", "dc"): 1})
    first = order_request("A-1", {"MUG": 1}, commitments[0], priority=1)
    second = order_request("A-2", {"MUG": 1}, commitments[1], priority=9)

    answers = await retailer.allocate_together([first, second])

    assert [promised(answer) for answer in answers] == [{"dc": 1}, {}]
    assert (await retailer.ledger()).balanced


@pytest.mark.parametrize("skus", [("SET", "MUG"), ("MUG", "SET")])
async def test_a_kit_and_a_single_get_the_last_component_in_the_order_of_the_batch(
    retailer: Retailer, skus: tuple[str, str]
) -> None:
    await retailer.stock({("MUG", "dc"): 1, ("TRAY", "dc"): 5})
    await retailer.kits({"SET": {"MUG": 1, "TRAY": 1}})

    answers = await retailer.allocate_together([order_request(f"A-{sku}", {sku: 1}) for sku in skus])

    assert [bool(promised(answer)) for answer in answers] == [True, False]
    assert (await retailer.ledger()).balanced


async def test_a_component_that_arrives_goes_to_the_higher_priority_then_the_older_of_a_kit_and_a_single(
    retailers: RetailerMaker,
) -> None:
    shop = await retailers.make(RESOLVED_RULES)
    cases: dict[str, tuple[list[tuple[str, int, int]], str]] = {
        "older kit": ([("SET", 1, 0), ("MUG", 1, 0)], "SET"),
        "older single": ([("MUG", 1, 0), ("SET", 1, 0)], "MUG"),
        "urgent kit": ([("MUG", 1, 0), ("SET", 1, 5)], "SET"),
        "urgent single": ([("SET", 1, 0), ("MUG", 1, 5)], "MUG"),
        "older kit of which one component is missing": ([("PAIR", 1, 0), ("MUG", 1, 0)], "MUG"),
    }
    for number, (orders, first) in enumerate(cases.values()):
        mug, tray, bowl = (f"{name}-{number}" for name in ("MUG", "TRAY", "BOWL"))
        await shop.stock({(mug, "dc"): 0, (tray, "dc"): 9, (bowl, "dc"): 0})
        components = [catalog_pb.Product(sku=sku, tags=["launch"]) for sku in (mug, tray, bowl)]
        await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=components))
        await shop.kits({f"SET-{number}": {mug: 1, tray: 1}, f"PAIR-{number}": {mug: 1, bowl: 1}})
        waiting = {
            name: await shop.allocate(f"{name}-{number}", {f"{name}-{number}": units}, priority=priority)
            for name, units, priority in orders
        }
        assert not any(promised(order) for order in waiting.values())

        await shop.count({(mug, "dc"): 1})

        got = {name: promised((await shop.get(x.allocation_id)).allocation) for name, x in waiting.items()}
        assert [name for name, units in got.items() if units] == [first]
    assert (await shop.ledger()).balanced


async def test_a_backorder_of_the_higher_priority_is_filled_first_whichever_service_took_it(
    retailers: RetailerMaker,
) -> None:
    one, two = await retailers.make(RESOLVED_RULES), await retailers.make(RESOLVED_RULES)
    await one.stock({("MUG", "dc"): 0})
    product = catalog_pb.Product(sku="MUG", tags=["launch"])
    await one.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[product]))
    older = await one.allocate("A-1", {"MUG": 1})
    urgent = await two.allocate("A-2", {"MUG": 1}, priority=9)

    await one.count({("MUG", "dc"): 1})
    newest = await two.allocate("A-3", {"MUG": 1}, priority=99)

    kept = [promised((await one.get(order.allocation_id)).allocation) for order in (older, urgent, newest)]
    assert kept == [{}, {"dc": 1}, {}]


async def test_orders_of_kits_and_singles_at_several_services_get_each_unit_once_and_leave_none(
    retailers: RetailerMaker,
) -> None:
    services = [await retailers.make() for _ in range(2)]
    await services[0].stock({("MUG", "dc"): 7, ("TRAY", "dc"): 50})
    await services[0].kits({"SET": {"MUG": 1, "TRAY": 1}})
    requests = [(n, sku) for n in range(8) for sku in ("SET", "MUG")]

    answers = await asyncio.gather(
        *(services[n % 2].allocate(f"A-{n}-{sku}", {sku: 1}, HOLD if n % 3 else SOLD) for n, sku in requests)
    )

    filled = [order for order in answers if promised(order)]
    late = await services[1].allocate("A-late", {"MUG": 1})
    assert (len(filled), promised(late)) == (7, {})
    assert (await services[0].ledger()).balanced
