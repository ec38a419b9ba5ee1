"""Causes of oversells rest on what the channel was told, through the API: answers, exceptions, metrics and replays."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from policies.stock.oversell import CAUSES
from service.database.database import Database, plain_url
from service.metrics import Metrics
from service.stock import publication_log
from service.stock.publication_log import PublicationLog
from tests.conftest import RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, eventually, order_reference
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    order_pb2,
)


@pytest.fixture
async def shop(retailers: RetailerMaker) -> Retailer:
    """10 mugs at one location, sold on the web and on TikTok."""
    shop = await retailers.make()
    social = catalog_pb.Channel(channel_id="tiktok_shop", kind=catalog_pb.Channel.KIND_SOCIAL)
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[social]))
    await shop.stock({("MUG", "austin"): 10})
    return shop


def causes(allocation: allocation_pb.Allocation) -> list[tuple[str, int]]:
    return [(short.cause, short.unit_count) for short in allocation.shortages]


async def test_orders_of_a_channel_that_never_asked_are_no_race(shop: Retailer) -> None:
    for number in range(4):
        sold = await shop.allocate(f"A-{number}", {"MUG": 3}, SOLD)

    assert causes(sold) == [("not_told", 2)]
    assert shop.metric("oversold_units_total", channel="web", cause="not_told") == 2
    assert shop.metric("oversold_orders_total", channel="web", cause="not_told") == 1
    assert sum(shop.metric("oversold_units_total", channel="web", cause=cause) for cause in CAUSES) == 2


async def test_a_channel_whose_units_went_elsewhere_after_it_was_told_lost_a_race(shop: Retailer) -> None:
    assert await shop.sellable("MUG") == 10
    await shop.allocate("T-1", {"MUG": 8}, SOLD, channel_id="tiktok_shop")

    sold = await shop.allocate("A-1", {"MUG": 4}, SOLD)

    assert causes(sold) == [("race", 2)]
    evidence = sold.decision.oversells[0]
    assert (evidence.published.sellable_count, evidence.ordered_count, evidence.short_count) == (10, 4, 2)
    assert (evidence.own_promised_count, evidence.other_promised_count, evidence.cause) == (0, 8, "race")
    assert evidence.published.policy_revision == sold.decision.policy_revision
    described = (await shop.get(sold.allocation_id)).exceptions[0].description
    assert described.startswith("2 units short: MUG. MUG: race, 10 published to web at ")


async def test_a_kit_was_sold_by_the_figure_of_the_kit(shop: Retailer) -> None:
    await shop.kits({"SET": {"MUG": 2}})
    assert await shop.sellable("SET") == 5
    await shop.allocate("T-1", {"MUG": 8}, SOLD, channel_id="tiktok_shop")

    raced = await shop.allocate("A-1", {"SET": 2}, SOLD)
    never_told = await shop.allocate("A-2", {"MUG": 1}, SOLD)

    assert causes(raced) == [("race", 2)]
    evidence = raced.decision.oversells[0]
    assert (evidence.published.sellable_count, evidence.ordered_count, evidence.short_count) == (10, 4, 2)
    assert causes(never_told) == [("not_told", 1)]


async def test_units_that_were_released_again_are_no_race(shop: Retailer) -> None:
    assert await shop.sellable("MUG") == 10
    held = await shop.allocate("T-1", {"MUG": 8}, HOLD, channel_id="tiktok_shop")
    await shop.release(held.allocation_id)

    assert causes(await shop.allocate("A-1", {"MUG": 12}, SOLD)) == [("not_applied", 2)]


async def test_a_channel_that_was_told_again_has_not_lost_a_race(shop: Retailer) -> None:
    assert await shop.sellable("MUG") == 10
    await shop.allocate("T-1", {"MUG": 8}, SOLD, channel_id="tiktok_shop")
    assert await shop.sellable("MUG") == 2

    assert causes(await shop.allocate("A-1", {"MUG": 4}, SOLD)) == [("not_applied", 2)]


async def test_a_channel_sold_more_than_it_was_told_also_over_several_orders(shop: Retailer) -> None:
    assert await shop.sellable("MUG") == 10
    await shop.allocate("A-1", {"MUG": 7}, SOLD)

    sold = await shop.allocate("A-2", {"MUG": 6}, SOLD)

    assert causes(sold) == [("not_applied", 3)]
    assert sold.decision.oversells[0].own_promised_count == 7


async def test_a_figure_that_a_count_proves_too_high_was_over_published(shop: Retailer) -> None:
    assert await shop.sellable("MUG") == 10
    await shop.count({("MUG", "austin"): 4})

    assert causes(await shop.allocate("A-1", {"MUG": 6}, SOLD)) == [("over_published", 2)]


async def test_a_figure_beyond_its_age_is_stale(shop: Retailer) -> None:
    await shop.sql("UPDATE stock_level SET as_of_time = clock_timestamp() - interval '25 hours'")
    assert await shop.sellable("MUG") == 10

    sold = await shop.allocate("A-1", {"MUG": 12}, SOLD)

    assert causes(sold) == [("stale_feed", 2)]
    assert sold.decision.oversells[0].stale


async def test_within_the_lag_a_channel_goes_by_the_figure_before(shop: Retailer) -> None:
    web = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB, figure_lag_seconds=60)
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[web]))
    assert await shop.sellable("MUG") == 10
    await shop.allocate("T-1", {"MUG": 10}, SOLD, channel_id="tiktok_shop")
    assert await shop.sellable("MUG") == 0

    sold = await shop.allocate("A-1", {"MUG": 2}, SOLD)

    assert causes(sold) == [("race", 2)]
    assert sold.decision.oversells[0].published.sellable_count == 10


async def test_a_look_of_a_person_is_not_told_to_the_channel(shop: Retailer) -> None:
    request = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["MUG"], internal=True)
    await shop.availability.CheckAvailability(request)

    assert causes(await shop.allocate("A-1", {"MUG": 12}, SOLD)) == [("not_told", 2)]


async def test_a_dry_run_names_the_cause_too(shop: Retailer) -> None:
    assert await shop.sellable("MUG") == 10

    preview = await shop.allocate("A-1", {"MUG": 12}, SOLD, validate_only=True)

    assert causes(preview) == [("not_applied", 2)]


async def test_a_replayed_decision_finds_the_same_cause(shop: Retailer) -> None:
    assert await shop.sellable("MUG") == 10
    sold = await shop.allocate("A-1", {"MUG": 12}, SOLD)
    await shop.sellable("MUG")

    replay = await shop.replay(sold.decision.decision_id)

    assert replay.identical
    assert [x.cause for x in replay.decision.oversells] == ["not_applied"]
    stored = await shop.decision(sold.decision.decision_id)
    assert stored.inputs.oversells[0].published.sellable_count == 10


async def test_orders_at_once_each_get_their_cause(shop: Retailer) -> None:
    await asyncio.gather(shop.sellable("MUG"), shop.sellable("MUG", "tiktok_shop"))
    orders = [
        shop.allocate(f"{channel}-{number}", {"MUG": 1}, SOLD, channel_id=channel)
        for number in range(10)
        for channel in ("web", "tiktok_shop")
    ]

    short = [pair for order in await asyncio.gather(*orders) for pair in causes(order)]

    assert short == [("race", 1)] * 10


async def test_an_order_that_its_copy_and_its_original_change_at_once_has_the_cause_of_its_last_plan(
    shop: Retailer,
) -> None:
    await shop.count({("MUG", "austin"): 11})
    assert await shop.sellable("MUG", "tiktok_shop") == 11
    await shop.stock({("MUG", "austin"): 10, ("CUP", "austin"): 10})
    await shop.allocate("5001", {"CUP": 1}, SOLD, copy_of=order_reference("tiktok_shop/T-1"))
    transactions = shop.metric("allocator_batch_orders_count")

    stated = [("web", "5001", {"CUP": 1, "MUG": 12}), ("tiktok_shop", "T-1", {"MUG": 14})]
    requests = [
        allocation_pb.AllocateOrderRequest(
            channel_id=channel_id,
            order_id=order_id,
            commitment=SOLD,
            lines=[order_pb2.OrderLine(sku=sku, unit_count=units) for sku, units in lines.items()],
        )
        for channel_id, order_id, lines in stated
    ]
    await shop.allocations.BatchAllocateOrders(allocation_pb.BatchAllocateOrdersRequest(requests=requests))

    assert shop.metric("allocator_batch_orders_count") == transactions + 1
    order = (await shop.find_order("tiktok_shop/T-1")).allocation
    assert causes(order) == [("not_applied", 4)]
    assert [x.cause for x in order.decision.oversells] == ["not_applied"]
    (raised,) = await shop.open_exceptions()
    assert raised.description.startswith("4 units short: MUG. MUG: not applied, 11 published to tiktok_shop at ")


async def test_what_was_told_last_is_kept_when_the_service_stops(retailers: RetailerMaker) -> None:
    shop, other = await retailers.make(), await retailers.make()
    await shop.stock({("MUG", "austin"): 10})
    assert await shop.sellable("MUG") == 10
    await retailers.stop(shop)

    assert causes(await other.allocate("A-1", {"MUG": 12}, SOLD)) == [("not_applied", 2)]


async def test_a_figure_that_another_service_replaced_is_kept_again(retailers: RetailerMaker) -> None:
    """A channel asks whichever service a load balancer picks; what it was told last decides."""
    shop, other = await retailers.make(), await retailers.make()
    for asked, units in ((shop, 5), (other, 3)):
        await shop.stock({("MUG", "austin"): units})
        assert await asked.sellable("MUG") == units
    await shop.stock({("MUG", "austin"): 5})

    async def is_kept() -> bool:
        assert await shop.sellable("MUG") == 5
        rows = await shop.sql("SELECT sellable FROM availability_history ORDER BY publish_time")
        return [row["sellable"] for row in rows] == [5, 3, 5]

    await eventually(is_kept)


async def test_only_a_new_figure_is_kept_and_the_newest_stays(shop: Retailer) -> None:
    for units in (10, 10, 9, 9, 10):
        await shop.count({("MUG", "austin"): units})
        assert await shop.sellable("MUG") == units

    async def kept() -> list[int]:
        rows = await shop.sql("SELECT sellable FROM availability_history ORDER BY publish_time")
        return [row["sellable"] for row in rows]

    async def is_written() -> bool:
        return await kept() == [10, 9, 10]

    await eventually(is_written)
    await shop.sql("UPDATE availability_history SET publish_time = publish_time - interval '40 days'")
    connection = await asyncpg.connect(plain_url(shop.database_url))
    assert await publication_log.purge(connection, timedelta(days=41)) == 0
    assert await publication_log.purge(connection, timedelta(days=30)) == 2
    await connection.close()
    assert await kept() == [10]


@pytest.mark.parametrize("figures", [(4, 9, 7), (9, 4, 9), (4, 7, 9)])
async def test_of_answers_of_one_moment_the_greatest_figure_is_kept(
    database_url: str, figures: tuple[int, ...]
) -> None:
    """Calls that share a stock read share its time; for another destination another figure may be sellable."""
    database, now = await Database.open(database_url, Metrics(CollectorRegistry()), connections=2), datetime.now(UTC)
    stop = asyncio.Event()
    stop.set()

    async def kept_of(*figures: int) -> list[tuple[int, str]]:
        log = PublicationLog()
        for sellable in figures:
            log.record("web", {"MUG": sellable}, now, f"rules {sellable}")
        await log.run(database, stop)
        statement = "SELECT sellable, policy_revision FROM availability_history"
        rows = await database.unlocked("list", lambda connection: connection.fetch(statement))
        return [(row["sellable"], row["policy_revision"]) for row in rows]

    assert await kept_of(*figures) == [(9, "rules 9")]
    # Other processes may have read the stock at the same moment.
    assert await kept_of(8) == [(9, "rules 9")]
    assert await kept_of(12) == [(12, "rules 12")]
    await database.close()


async def test_an_unchanged_figure_is_kept_again_after_a_time() -> None:
    log, now = PublicationLog(), datetime(2026, 11, 27, tzinfo=UTC)
    for minutes in (0, 1, 14, 15, 29, 30):
        log.record("web", {"MUG": 5}, now + timedelta(minutes=minutes), "4f2a9c")

    waiting = log.waiting([("web", "MUG"), ("web", "CAP")])

    assert [(x.publish_time - now) // timedelta(minutes=1) for x in waiting["web", "MUG"]] == [0, 15, 30]
    assert waiting["web", "CAP"] == []
    assert timedelta(minutes=15) == publication_log.REPEATED_AFTER


async def test_the_last_figures_of_outlets_stay_beside_the_last_figure_of_all(shop: Retailer) -> None:
    database, now = (
        await Database.open(shop.database_url, Metrics(CollectorRegistry()), connections=2),
        datetime.now(UTC),
    )
    stop, log = asyncio.Event(), PublicationLog()
    stop.set()
    told = [(5, {"east": 2}), (4, None), (4, {"east": 3}), (4, None), (6, None), (6, None)]
    for minutes, (units, outlets) in enumerate(told):
        by_sku = {"MUG": outlets} if outlets else {}
        log.record("web", {"MUG": units}, now + timedelta(days=-50, minutes=minutes), "4f2a9c", by_sku)
    await log.run(database, stop)

    async def kept() -> list[tuple[int, str | None]]:
        rows = await shop.sql("SELECT sellable, outlets FROM availability_history ORDER BY publish_time")
        return [(row["sellable"], row["outlets"]) for row in rows]

    before = await kept()
    await database.transaction("purge", lambda connection: publication_log.purge(connection, timedelta(days=30)))
    await database.close()

    assert before == [(5, '{"east": 2}'), (4, None), (4, '{"east": 3}'), (6, None)]
    assert await kept() == [(4, '{"east": 3}'), (6, None)]
