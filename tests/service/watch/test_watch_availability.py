"""Watching availability: the last value is never missed, versions only rise, and a slow reader harms nobody."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from prometheus_client import CollectorRegistry

from service import limits
from service.app.wiring import new_id
from service.availability import published_availability
from service.database.database import Database, plain_url
from service.dependencies import Dependencies
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies
from service.settings import Settings
from service.watch import watch_requests
from service.watch.availability_watch import AvailabilityWatch
from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import HOLD, Retailer
from tests.service.test_faults import refusal
from truestock.v1 import availability_service_pb2 as availability_pb, catalog_service_pb2 as catalog_pb

Code = grpc.StatusCode


class Ear:
    """One who watches and keeps what was last told. Fails where a version falls."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.sellable: dict[str, int] = {}
        self.largest: dict[str, int] = {}
        self.token = ""
        self.told: list[str] = []
        self.heartbeats = 0

    async def listen(self, call: Any) -> None:
        async for message in call:
            self.hear(message)

    def hear(self, message: availability_pb.WatchAvailabilityResponse) -> None:
        for change in message.changes:
            assert change.version >= self.versions.get(change.sku, 0)
            self.versions[change.sku] = change.version
            self.sellable[change.sku] = change.sellable_count
            self.largest[change.sku] = change.largest_single_order_count
            self.told.append(change.sku)
        self.heartbeats += not message.changes
        self.token = message.resume_token or self.token

    async def hears(self, **figures: int) -> None:
        """Waits until these figures, and perhaps others, were told last."""
        await until(lambda: figures.items() <= self.sellable.items(), lambda: self.sellable)

    async def catches_up(self) -> None:
        """Waits until everything that comes first was told."""
        await until(lambda: bool(self.token))

    async def rests(self) -> None:
        """Waits until nothing new is told: the token of a heartbeat leaves out what was told before it."""
        await self.catches_up()
        before = self.heartbeats
        await until(lambda: self.heartbeats > before)


async def until(is_true: Callable[[], bool], shown: Callable[[], object] = lambda: "", seconds: float = 5.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not is_true():
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds} s: {shown()}"
        await asyncio.sleep(0.01)


def wish(*skus: str, token: str = "", channel_id: str = "web", heartbeat: float = 1) -> Any:
    request = availability_pb.WatchAvailabilityRequest(channel_id=channel_id, skus=skus, resume_token=token)
    request.heartbeat_interval.FromMilliseconds(round(heartbeat * 1000))
    return request


@asynccontextmanager
async def watching(shop: Retailer, *skus: str, into: Ear | None = None, **fields: Any) -> AsyncIterator[Ear]:
    """Somebody who watches while the block lasts."""
    ear = into or Ear()
    call = shop.availability.WatchAvailability(wish(*skus, **fields))
    listening = asyncio.create_task(ear.listen(call))
    try:
        yield ear
    finally:
        call.cancel()
        await asyncio.wait([listening])
        error = None if listening.cancelled() else listening.exception()
        assert error is None or isinstance(error, grpc.aio.AioRpcError), error


async def checked(shop: Retailer, skus: list[str], channel_id: str = "web") -> dict[str, tuple[int, int]]:
    request = availability_pb.CheckAvailabilityRequest(channel_id=channel_id, skus=skus)
    found = (await shop.availability.CheckAvailability(request)).availabilities
    return {one.sku: (one.sellable_count, one.largest_single_order_count) for one in found}


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 10, ("PAN", "dc"): 5})
    return retailer


async def test_everything_is_told_first_and_then_what_changes(shop: Retailer) -> None:
    async with watching(shop) as ear:
        await ear.hears(MUG=10, PAN=5)
        await shop.allocate("A-1", {"MUG": 3})
        await ear.hears(MUG=7, PAN=5)

    assert ear.versions == {"MUG": 2, "PAN": 1}


async def test_only_the_products_that_are_named_are_told(shop: Retailer) -> None:
    async with watching(shop, "PAN") as ear:
        await ear.catches_up()
        await shop.count({("MUG", "dc"): 2, ("PAN", "dc"): 4})
        await ear.hears(PAN=4)

    assert set(ear.told) == {"PAN"}


async def test_a_product_that_comes_later_is_told_to_who_watches_everything(shop: Retailer) -> None:
    async with watching(shop) as ear, watching(shop, "MUG") as other:
        await ear.hears(MUG=10)
        await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku="POT")]))
        await ear.hears(POT=0)
        await shop.count({("POT", "dc"): 3})
        await ear.hears(POT=3)

    assert set(other.told) == {"MUG"}


async def test_what_comes_back_to_what_was_told_is_not_told_again(shop: Retailer) -> None:
    async with watching(shop, "MUG") as ear:
        await ear.hears(MUG=10)
        held = await shop.allocate("A-1", {"MUG": 4}, HOLD)
        await ear.hears(MUG=6)
        await shop.confirm(held.allocation_id)
        await shop.cancel(held.allocation_id, {"1": 4})
        await ear.hears(MUG=10)

    assert ear.told == ["MUG"] * 3
    assert ear.versions == {"MUG": 3}


async def test_a_hold_that_the_clock_ends_is_told_before_anybody_sweeps_it(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asleep(_: object) -> int:
        return 0

    monkeypatch.setattr("service.allocation.lifecycle.Lifecycle.sweep", asleep)
    async with watching(shop, "MUG") as ear:
        await ear.hears(MUG=10)
        request = {"hold_duration": {"seconds": 1}}
        await shop.allocate("A-1", {"MUG": 4}, HOLD, **request)
        await ear.hears(MUG=6)
        await ear.hears(MUG=10)

    assert (await shop.sql("SELECT state FROM allocation"))[0]["state"] == "held"


async def test_a_location_that_is_paused_is_told_of_all_its_products(shop: Retailer) -> None:
    async with watching(shop) as ear:
        await ear.hears(MUG=10, PAN=5)
        await shop.locations("dc", status=catalog_pb.Location.STATUS_CLOSED)
        await ear.hears(MUG=0, PAN=0)
        await shop.locations("dc")
        await ear.hears(MUG=10, PAN=5)


async def test_a_channel_that_may_sell_from_fewer_places_is_told(shop: Retailer) -> None:
    await shop.stock({("MUG", "shop"): 4})
    async with watching(shop) as ear:
        await ear.hears(MUG=14, PAN=5)
        channel = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB, location_ids=["shop"])
        await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel]))
        await ear.hears(MUG=4, PAN=0)


async def test_other_rules_are_told_of_all_products(retailers: RetailerMaker, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(PLAIN_RULES, rules)
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "dc"): 10, ("PAN", "dc"): 5})
    async with watching(shop) as ear:
        await ear.hears(MUG=10, PAN=5)
        keep(rules, units=3)
        await ear.hears(MUG=7, PAN=2)


def keep(rules: Path, units: int) -> None:
    """Rules that hold back so many units everywhere from now on."""
    made = f"kind: buffer\nname: kept\nscope: location\nrules:\n  - {{name: some, hold_back: {{units: {units}}}}}\n"
    (rules / "new.tmp").write_text(made)
    (rules / "new.tmp").rename(rules / "kept.yaml")


async def test_a_figure_that_grows_old_is_told_in_the_round(retailers: RetailerMaker, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(PLAIN_RULES, rules)
    old = "{name: old, when: {stock.age_minutes: {more_than: 0.03}}, block: too old}"
    (rules / "old.yaml").write_text(f"kind: exposure\nname: old\nrules:\n  - {old}\n")
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "dc"): 0})
    async with watching(shop) as ear:
        await ear.hears(MUG=0)
        now = (await shop.sql("SELECT clock_timestamp() AS now"))[0]["now"]
        await shop.count({("MUG", "dc"): 8}, at=now)
        await ear.hears(MUG=8)
        await ear.hears(MUG=0)


@pytest.fixture
async def slow(database_url: str) -> AsyncIterator[Any]:
    """A connection for a writer that takes its time."""
    connection = await asyncpg.connect(plain_url(database_url))
    yield connection
    await connection.close()


async def test_a_slow_writer_is_told_although_a_faster_one_was_told_before(retailers: RetailerMaker, slow: Any) -> None:
    """A takes its place in the order of transactions, B overtakes it and is told, then A commits."""
    shop = await retailers.make(watch_refresh_seconds=15)
    await shop.stock({("MUG", "dc"): 10, ("PAN", "dc"): 5})
    async with watching(shop) as ear:
        await ear.hears(MUG=10, PAN=5)
        transaction = slow.transaction()
        await transaction.start()
        await moved_by_hand(slow, "MUG", -4)
        await shop.count({("PAN", "dc"): 1})
        await ear.hears(PAN=1)
        await transaction.commit()
        await ear.hears(MUG=6)

    numbers = await shop.sql("SELECT sku FROM stock_movement ORDER BY xid DESC LIMIT 2")
    assert [row["sku"] for row in numbers] == ["PAN", "MUG"]


async def test_what_a_slow_service_told_is_told_after_a_cut(shop: Retailer, slow: Any) -> None:
    """Another service writes down what it tells before the watch is cut, and commits it after that."""
    async with watching(shop) as ear:
        await ear.rests()
        transaction = slow.transaction()
        await transaction.start()
        await moved_by_hand(slow, "MUG", -4)
        await slow.execute(
            """UPDATE availability_published SET sellable = 6, largest_single_order = 6, version = version + 1,
            xid = pg_current_xact_id() WHERE sku = 'MUG'"""
        )
        await shop.count({("PAN", "dc"): 1})
        await ear.hears(PAN=1)
        await ear.rests()
    await transaction.commit()
    async with watching(shop, token=ear.token, into=ear):
        await ear.hears(MUG=6)

    assert ear.versions["MUG"] == 2


async def moved_by_hand(connection: Any, sku: str, units: int) -> None:
    await connection.execute(
        "UPDATE stock_level SET on_hand = on_hand + $2 WHERE (sku, location_id) = ($1, 'dc')", sku, units
    )
    await connection.execute(
        """INSERT INTO stock_movement (id, sku, location_id, kind, result, on_hand_delta, unavailable_delta, held_delta,
        allocated_delta, source, effective_time, ingest_time) VALUES (gen_random_uuid(), $1, 'dc', 'adjusted',
        'accepted', $2, 0, 0, 0, 'hand', clock_timestamp(), clock_timestamp())""",
        sku,
        units,
    )


async def test_a_watch_that_was_cut_goes_on_with_what_changed_meanwhile(shop: Retailer) -> None:
    async with watching(shop) as ear:
        await ear.hears(MUG=10, PAN=5)
        await ear.rests()
    await shop.allocate("A-1", {"MUG": 3})
    async with watching(shop, token=ear.token, into=ear):
        await ear.hears(MUG=7)

    assert ear.told == ["MUG", "PAN", "MUG"]


async def test_a_token_holds_after_a_restart_and_at_another_service(retailers: RetailerMaker) -> None:
    first = await retailers.make()
    await first.stock({("MUG", "dc"): 10, ("PAN", "dc"): 5})
    async with watching(first) as ear:
        await ear.hears(MUG=10, PAN=5)
        await ear.rests()
    await retailers.stop(first)
    second = await retailers.make()
    await second.count({("PAN", "dc"): 2})
    async with watching(second, token=ear.token, into=ear):
        await ear.hears(PAN=2)
        await second.count({("MUG", "dc"): 9})
        await ear.hears(MUG=9)

    assert ear.told == ["MUG", "PAN", "PAN", "MUG"]


async def test_a_service_that_stops_ends_its_watches_at_once(retailers: RetailerMaker) -> None:
    shop = await retailers.make()
    await shop.stock({("MUG", "dc"): 10})
    call = shop.availability.WatchAvailability(wish())
    await call.read()
    stopping = asyncio.create_task(retailers.stop(shop))

    async def read() -> None:
        while True:
            await call.read()

    refused = await asyncio.wait_for(refusal(read()), 1)
    await stopping

    assert (refused.code, refused.reason) == (Code.UNAVAILABLE, "NOT_READY")


async def test_whoever_hears_nothing_new_hears_a_heartbeat_with_a_fresh_token(shop: Retailer) -> None:
    async with watching(shop) as ear:
        await ear.catches_up()
        token = ear.token
        await shop.allocate("A-1", {"MUG": 1})
        await ear.hears(MUG=9)
        await until(lambda: ear.heartbeats > 1)

    assert ear.token != token


async def test_a_slow_reader_is_told_the_last_value_and_holds_nobody_up(shop: Retailer) -> None:
    """The watch itself, of which nobody reads on: what gRPC has room for would hide that."""
    async with watch_itself(shop) as hub:
        slow = hub.watch(watch_requests.availability_subscription(wish("MUG", "PAN")))
        await told_by(slow, {"MUG": 10, "PAN": 5})
        async with aclosing(hub.watch(watch_requests.availability_subscription(wish("MUG")))) as quick:
            await told_by(quick, {"MUG": 10})
            for units in range(11, 31):
                await shop.count({("MUG", "dc"): units})
                await told_by(quick, {"MUG": units})
        message = await told_by(slow, {"MUG": 30})
        await slow.aclose()

    assert len(message.changes) == 1


@asynccontextmanager
async def watch_itself(shop: Retailer) -> AsyncIterator[AvailabilityWatch]:
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(shop.database_url, metrics)
    settings, folder = Settings(watch_poll_seconds=0.02), ActivePolicies(PLAIN_RULES, metrics)
    deps = Dependencies(settings, database, folder, metrics, new_id)
    hub, stop = AvailabilityWatch(deps), asyncio.Event()
    looking = asyncio.create_task(hub.poller.run(stop))
    try:
        yield hub
    finally:
        stop.set()
        await looking
        await database.close()


async def told_by(watch: Any, figures: dict[str, int]) -> availability_pb.WatchAvailabilityResponse:
    """The message that tells these figures, of which the one before told nothing else than they."""
    async for message in watch:
        if {change.sku: change.sellable_count for change in message.changes}.items() >= figures.items():
            told: availability_pb.WatchAvailabilityResponse = message
            return told
    raise AssertionError("the watch ended")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"channel_id": ""}, "channel_id"),
        ({"token": "AAAA"}, "resume_token"),
        ({"token": "not base64!"}, "resume_token"),
        ({"token": "x" * 5000}, "resume_token"),
        ({"heartbeat": 0.5}, "heartbeat_interval"),
        ({"heartbeat": 301}, "heartbeat_interval"),
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused(shop: Retailer, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await shop.availability.WatchAvailability(wish(**fields)).read()

    assert error.value.code() is Code.INVALID_ARGUMENT
    assert field in (error.value.details() or "")


@pytest.mark.parametrize("other", [{"channel_id": "shopify"}, {"skus": ["MUG"]}])
async def test_the_token_of_another_watch_is_refused(shop: Retailer, other: dict[str, Any]) -> None:
    channel = catalog_pb.Channel(channel_id="shopify", kind=catalog_pb.Channel.KIND_WEB)
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel]))
    async with watching(shop) as ear:
        await ear.catches_up()

    request = wish(*other.pop("skus", []), token=ear.token, **other)
    refused = await refusal(shop.availability.WatchAvailability(request).read())
    assert (refused.code, refused.reason) == (Code.INVALID_ARGUMENT, "INVALID_FIELD")


async def test_a_token_from_beyond_this_database_begins_anew(shop: Retailer) -> None:
    async with watching(shop) as ear:
        await ear.catches_up()
    await shop.sql("SELECT 1")
    async with watching(shop, token=later(ear.token)) as again:
        await again.hears(MUG=10, PAN=5)


def later(token: str) -> str:
    """The same token, far ahead."""
    plain = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    head, _, number = plain.rpartition(".")
    return base64.urlsafe_b64encode(f"{head}.{int(number) + 10_000_000}".encode()).decode().rstrip("=")


async def test_a_channel_or_product_that_nobody_knows_is_not_found(shop: Retailer) -> None:
    channel = await refusal(shop.availability.WatchAvailability(wish(channel_id="nowhere")).read())
    product = await refusal(shop.availability.WatchAvailability(wish("MUG", "NOTHING")).read())

    assert channel.code is product.code is Code.NOT_FOUND


async def test_no_more_may_watch_than_there_are_places(
    retailers: RetailerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WATCHERS", 1)
    shop = await retailers.make()
    async with watching(shop) as ear:
        await ear.catches_up()
        refused = await refusal(shop.availability.WatchAvailability(wish()).read())
    async with watching(shop) as again:
        await again.catches_up()

    assert (refused.code, refused.reason) == (Code.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert refused.retry_seconds > 0


async def test_what_was_last_told_is_kept_for_whoever_asks_why_too_much_was_sold(shop: Retailer) -> None:
    async with watching(shop) as ear:
        await ear.hears(MUG=10, PAN=5)
    await shop.count({("MUG", "dc"): 1})
    connection = await asyncpg.connect(plain_url(shop.database_url))
    told = await published_availability.last_published(connection, "web", ["MUG", "NOTHING"])
    await connection.close()

    assert told == {"MUG": 10}


async def test_the_metrics_say_who_watches_and_what_was_told_how_late(retailers: RetailerMaker) -> None:
    # The round would tell of the count too, if it came first.
    shop = await retailers.make(watch_refresh_seconds=15)
    await shop.stock({("MUG", "dc"): 10, ("PAN", "dc"): 5})
    assert shop.metric("availability_changes_published_total", channel="web") == 0
    async with watching(shop) as ear:
        await ear.hears(MUG=10, PAN=5)
        await shop.count({("MUG", "dc"): 1})
        await ear.hears(MUG=1)
        assert shop.metric("availability_watchers") == 1
    await until(lambda: shop.metric("availability_watchers") == 0)
    method = "AvailabilityService/WatchAvailability"
    await until(lambda: shop.metric("rpc_duration_seconds_count", method=method, code="CANCELLED") == 1)

    assert shop.metric("availability_changes_published_total", channel="web") == 3
    assert shop.metric("availability_delay_seconds_count") == 1
