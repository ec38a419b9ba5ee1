"""WatchAvailability: the last value is never missed, versions only rise, and a slow client delays nobody."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from prometheus_client import CollectorRegistry

from policies.stock.confidence import DAYS_PER_ERROR, LEVEL_SHAPE
from service import limits
from service.app.wiring import new_id
from service.database.database import Database, plain_url
from service.dependencies import Dependencies
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies
from service.settings import Settings
from service.watch import watch_requests
from service.watch.availability_watch import AvailabilityWatch
from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import HOLD, Retailer, eventually
from tests.service.test_faults import refusal
from truestock.v1 import availability_service_pb2 as availability_pb, catalog_service_pb2 as catalog_pb

Code = grpc.StatusCode


class AvailabilityClient:
    """A client that keeps the last value of each product that it received. Fails where a version falls."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.sellable: dict[str, int] = {}
        self.largest: dict[str, int] = {}
        self.token = ""
        self.received: list[str] = []
        self.heartbeats = 0
        self.unknown_skus: list[str] = []
        self.starts_over_count = 0

    async def read_all(self, call: Any) -> None:
        async for message in call:
            self.receive(message)

    def receive(self, message: availability_pb.WatchAvailabilityResponse) -> None:
        for change in message.changes:
            assert change.version >= self.versions.get(change.sku, 0)
            self.versions[change.sku] = change.version
            self.sellable[change.sku] = change.sellable_count
            self.largest[change.sku] = change.largest_single_order_count
            self.received.append(change.sku)
        self.heartbeats += not message.changes
        self.unknown_skus += message.unknown_skus
        self.starts_over_count += message.starts_over
        self.token = message.resume_token or self.token

    async def receives(self, **figures: int) -> None:
        """Waits until these figures, and perhaps others, were received last."""
        await until(lambda: figures.items() <= self.sellable.items(), lambda: self.sellable)

    async def is_ready(self) -> None:
        """Waits until all initial values were received."""
        await until(lambda: bool(self.token))

    async def is_up_to_date(self) -> None:
        """Waits for a heartbeat, whose token is later than every value received before it."""
        await self.is_ready()
        before = self.heartbeats
        await until(lambda: self.heartbeats > before)


async def until(is_true: Callable[[], bool], state: Callable[[], object] = lambda: "", seconds: float = 20.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not is_true():
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds} s: {state()}"
        await asyncio.sleep(0.01)


def watch_request(*skus: str, token: str = "", channel_id: str = "web", heartbeat: float = 1) -> Any:
    request = availability_pb.WatchAvailabilityRequest(channel_id=channel_id, skus=skus, resume_token=token)
    request.heartbeat_interval.FromMilliseconds(round(heartbeat * 1000))
    return request


@asynccontextmanager
async def watching(
    shop: Retailer, *skus: str, into: AvailabilityClient | None = None, **fields: Any
) -> AsyncIterator[AvailabilityClient]:
    """A client that watches while the block lasts."""
    client = into or AvailabilityClient()
    call = shop.availability.WatchAvailability(watch_request(*skus, **fields))
    reading = asyncio.create_task(client.read_all(call))
    try:
        yield client
    finally:
        call.cancel()
        await asyncio.wait([reading])
        error = None if reading.cancelled() else reading.exception()
        assert error is None or isinstance(error, grpc.aio.AioRpcError), error


async def checked(shop: Retailer, skus: list[str], channel_id: str = "web") -> dict[str, tuple[int, int]]:
    request = availability_pb.CheckAvailabilityRequest(channel_id=channel_id, skus=skus)
    levels = (await shop.availability.CheckAvailability(request)).availabilities
    return {level.sku: (level.sellable_count, level.largest_single_order_count) for level in levels}


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 10, ("PAN", "dc"): 5})
    return retailer


async def test_all_products_are_sent_first_and_then_changes(shop: Retailer) -> None:
    async with watching(shop) as client:
        await client.receives(MUG=10, PAN=5)
        await shop.allocate("A-1", {"MUG": 3})
        await client.receives(MUG=7, PAN=5)

    assert client.versions == {"MUG": 2, "PAN": 1}


async def test_only_the_named_products_are_sent(shop: Retailer) -> None:
    async with watching(shop, "PAN") as client:
        await client.is_ready()
        await shop.count({("MUG", "dc"): 2, ("PAN", "dc"): 4})
        await client.receives(PAN=4)

    assert set(client.received) == {"PAN"}


async def test_a_new_product_is_sent_to_clients_that_watch_all_products(shop: Retailer) -> None:
    async with watching(shop) as client, watching(shop, "MUG") as other:
        await client.receives(MUG=10)
        await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku="POT")]))
        await client.receives(POT=0)
        await shop.count({("POT", "dc"): 3})
        await client.receives(POT=3)

    assert set(other.received) == {"MUG"}


async def test_a_value_that_returns_to_the_published_one_is_not_sent_again(shop: Retailer) -> None:
    async with watching(shop, "MUG") as client:
        await client.receives(MUG=10)
        held = await shop.allocate("A-1", {"MUG": 4}, HOLD)
        await client.receives(MUG=6)
        await shop.confirm(held.allocation_id)
        await shop.cancel(held.allocation_id, {"1": 4})
        await client.receives(MUG=10)

    assert client.received == ["MUG"] * 3
    assert client.versions == {"MUG": 3}


async def test_an_expired_hold_is_sent_before_the_sweep(shop: Retailer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_sweep(_: object) -> int:
        return 0

    monkeypatch.setattr("service.allocation.lifecycle.Lifecycle.sweep", no_sweep)
    async with watching(shop, "MUG") as client:
        await client.receives(MUG=10)
        request = {"hold_duration": {"seconds": 1}}
        await shop.allocate("A-1", {"MUG": 4}, HOLD, **request)
        await client.receives(MUG=6)
        await client.receives(MUG=10)

    assert (await shop.sql("SELECT state FROM allocation"))[0]["state"] == "held"


async def test_closing_a_location_changes_all_its_products(shop: Retailer) -> None:
    async with watching(shop) as client:
        await client.receives(MUG=10, PAN=5)
        await shop.locations("dc", status=catalog_pb.Location.STATUS_CLOSED)
        await client.receives(MUG=0, PAN=0)
        await shop.locations("dc")
        await client.receives(MUG=10, PAN=5)


async def test_a_channel_that_may_sell_from_fewer_locations_receives_new_values(shop: Retailer) -> None:
    await shop.stock({("MUG", "shop"): 4})
    async with watching(shop) as client:
        await client.receives(MUG=14, PAN=5)
        channel = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB, location_ids=["shop"])
        await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel]))
        await client.receives(MUG=4, PAN=0)


async def test_new_rules_change_all_products(retailers: RetailerMaker, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(PLAIN_RULES, rules)
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "dc"): 10, ("PAN", "dc"): 5})
    async with watching(shop) as client:
        await client.receives(MUG=10, PAN=5)
        add_buffer(rules, units=3)
        await client.receives(MUG=7, PAN=2)


def add_buffer(rules: Path, units: int) -> None:
    """Adds rules that hold back this many units at every location."""
    rule_file = (
        f"kind: buffer\nname: kept\nscope: location\nrules:\n  - {{name: some, hold_back: {{units: {units}}}}}\n"
    )
    (rules / "new.tmp").write_text(rule_file)
    (rules / "new.tmp").rename(rules / "kept.yaml")


async def test_a_figure_that_grows_stale_is_sent_by_the_refresh(retailers: RetailerMaker, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(PLAIN_RULES, rules)
    old = "{name: old, when: {stock.age_minutes: {more_than: 0.03}}, block: too old}"
    (rules / "old.yaml").write_text(f"kind: exposure\nname: old\nrules:\n  - {old}\n")
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "dc"): 0})
    async with watching(shop) as client:
        await client.receives(MUG=0)
        now = (await shop.sql("SELECT clock_timestamp() AS now"))[0]["now"]
        await shop.count({("MUG", "dc"): 8}, at=now)
        await client.receives(MUG=8)
        await client.receives(MUG=0)


async def test_a_figure_that_is_trusted_less_by_time_alone_is_sent_by_the_refresh(
    retailers: RetailerMaker, tmp_path: Path
) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(PLAIN_RULES, rules)
    doubtful = "{name: doubtful, when: {stock.count_confidence: {less_than: 0.9}}, block: not trusted}"
    (rules / "doubtful.yaml").write_text(f"kind: exposure\nname: doubtful\nrules:\n  - {doubtful}\n")
    shop = await retailers.make(rules)
    # The confidence is 0.9, to the third decimal, for that many days.
    days = DAYS_PER_ERROR * LEVEL_SHAPE * (0.8995 ** (-1 / LEVEL_SHAPE) - 1)
    await shop.stock({("MUG", "dc"): 8})
    async with watching(shop) as client:
        await client.receives(MUG=8)
        await shop.sql(
            "UPDATE stock_level SET physical_count_time = clock_timestamp() - $1::interval + interval '1 second'",
            timedelta(days=days),
        )
        assert await shop.sellable("MUG") == 8
        await client.receives(MUG=0)


@pytest.fixture
async def slow(database_url: str) -> AsyncIterator[Any]:
    """A connection for a slow writer."""
    connection = await asyncpg.connect(plain_url(database_url))
    yield connection
    await connection.close()


async def test_a_change_that_commits_late_is_sent_after_a_later_one(retailers: RetailerMaker, slow: Any) -> None:
    """Transaction A starts first, B commits and is sent before it, then A commits."""
    shop = await retailers.make(watch_refresh_seconds=15)
    await shop.stock({("MUG", "dc"): 10, ("PAN", "dc"): 5})
    async with watching(shop) as client:
        await client.receives(MUG=10, PAN=5)
        transaction = slow.transaction()
        await transaction.start()
        await write_movement(slow, "MUG", -4)
        await shop.count({("PAN", "dc"): 1})
        await client.receives(PAN=1)
        await transaction.commit()
        await client.receives(MUG=6)

    numbers = await shop.sql("SELECT sku FROM stock_movement ORDER BY xid DESC LIMIT 2")
    assert [row["sku"] for row in numbers] == ["PAN", "MUG"]


async def test_a_value_that_another_service_commits_late_is_sent_after_a_resume(shop: Retailer, slow: Any) -> None:
    """Another service writes a published value before the stream ends, and commits it afterwards."""
    async with watching(shop) as client:
        await client.is_up_to_date()
        transaction = slow.transaction()
        await transaction.start()
        await write_movement(slow, "MUG", -4)
        await slow.execute(
            """UPDATE availability_published SET sellable = 6, largest_single_order = 6, version = version + 1,
            xid = pg_current_xact_id() WHERE sku = 'MUG'"""
        )
        await shop.count({("PAN", "dc"): 1})
        await client.receives(PAN=1)
        await client.is_up_to_date()
    await transaction.commit()
    async with watching(shop, token=client.token, into=client):
        await client.receives(MUG=6)

    assert client.versions["MUG"] == 2


async def write_movement(connection: Any, sku: str, units: int) -> None:
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


async def test_a_resumed_stream_starts_with_the_changes_since_its_token(shop: Retailer) -> None:
    async with watching(shop) as client:
        await client.receives(MUG=10, PAN=5)
        await client.is_up_to_date()
    await shop.allocate("A-1", {"MUG": 3})
    async with watching(shop, token=client.token, into=client):
        await client.receives(MUG=7)

    assert client.received == ["MUG", "PAN", "MUG"]


async def test_a_token_is_valid_after_a_restart_and_at_another_service(retailers: RetailerMaker) -> None:
    first = await retailers.make()
    await first.stock({("MUG", "dc"): 10, ("PAN", "dc"): 5})
    async with watching(first) as client:
        await client.receives(MUG=10, PAN=5)
        await client.is_up_to_date()
    await retailers.stop(first)
    second = await retailers.make()
    await second.count({("PAN", "dc"): 2})
    async with watching(second, token=client.token, into=client):
        await client.receives(PAN=2)
        await second.count({("MUG", "dc"): 9})
        await client.receives(MUG=9)

    assert client.received == ["MUG", "PAN", "PAN", "MUG"]


async def test_a_service_that_stops_ends_its_streams_at_once(retailers: RetailerMaker) -> None:
    # The streams would otherwise be ended with the calls in flight, after this time.
    shop = await retailers.make(drain_seconds=60)
    await shop.stock({("MUG", "dc"): 10})
    call = shop.availability.WatchAvailability(watch_request())
    await call.read()
    stopping = asyncio.create_task(retailers.stop(shop))

    async def read() -> None:
        while True:
            await call.read()

    refused = await asyncio.wait_for(refusal(read()), 30)
    await stopping

    assert (refused.code, refused.reason) == (Code.UNAVAILABLE, "NOT_READY")


async def test_without_changes_a_heartbeat_brings_a_new_token(shop: Retailer) -> None:
    async with watching(shop) as client:
        await client.is_ready()
        token = client.token
        await shop.allocate("A-1", {"MUG": 1})
        await client.receives(MUG=9)
        await until(lambda: client.heartbeats > 1)

    assert client.token != token


async def test_a_slow_client_receives_the_last_value_and_delays_nobody(shop: Retailer) -> None:
    """The stream is not read on here, without gRPC, whose buffers would hide it."""
    async with availability_watch(shop) as watch:
        slow = watch.watch(watch_requests.availability_subscription(watch_request("MUG", "PAN")))
        await read_until(slow, {"MUG": 10, "PAN": 5})
        async with aclosing(watch.watch(watch_requests.availability_subscription(watch_request("MUG")))) as quick:
            await read_until(quick, {"MUG": 10})
            for units in range(11, 31):
                await shop.count({("MUG", "dc"): units})
                await read_until(quick, {"MUG": units})
        message = await read_until(slow, {"MUG": 30})
        await slow.aclose()

    assert len(message.changes) == 1


@asynccontextmanager
async def availability_watch(shop: Retailer) -> AsyncIterator[AvailabilityWatch]:
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(shop.database_url, metrics)
    settings, folder = Settings(watch_poll_seconds=0.02), ActivePolicies(PLAIN_RULES, metrics)
    deps = Dependencies(settings, database, folder, metrics, new_id)
    watch, stop = AvailabilityWatch(deps), asyncio.Event()
    polling = asyncio.create_task(watch.poller.run(stop))
    try:
        yield watch
    finally:
        stop.set()
        await polling
        await database.close()


async def read_until(stream: Any, figures: dict[str, int]) -> availability_pb.WatchAvailabilityResponse:
    """The first message that has these figures."""
    async for message in stream:
        if {change.sku: change.sellable_count for change in message.changes}.items() >= figures.items():
            response: availability_pb.WatchAvailabilityResponse = message
            return response
    raise AssertionError("the stream ended")


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
async def test_an_invalid_watch_request_is_refused(shop: Retailer, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await shop.availability.WatchAvailability(watch_request(**fields)).read()

    assert error.value.code() is Code.INVALID_ARGUMENT
    assert field in (error.value.details() or "")


@pytest.mark.parametrize("other", [{"channel_id": "shopify"}, {"skus": ["MUG"]}])
async def test_the_token_of_another_watch_is_refused(shop: Retailer, other: dict[str, Any]) -> None:
    channel = catalog_pb.Channel(channel_id="shopify", kind=catalog_pb.Channel.KIND_WEB)
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel]))
    async with watching(shop) as client:
        await client.is_ready()

    request = watch_request(*other.pop("skus", []), token=client.token, **other)
    refused = await refusal(shop.availability.WatchAvailability(request).read())
    assert (refused.code, refused.reason) == (Code.INVALID_ARGUMENT, "INVALID_FIELD")


async def test_a_token_later_than_this_database_starts_over(shop: Retailer) -> None:
    async with watching(shop) as client:
        await client.is_ready()
    await shop.sql("SELECT 1")
    async with watching(shop, token=later(client.token)) as resumed:
        await resumed.receives(MUG=10, PAN=5)


def later(token: str) -> str:
    """The same token with a far later transaction."""
    plain = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    head, _, number = plain.rpartition(".")
    return base64.urlsafe_b64encode(f"{head}.{int(number) + 10_000_000}".encode()).decode().rstrip("=")


async def test_an_unknown_channel_is_not_found(shop: Retailer) -> None:
    channel = await refusal(shop.availability.WatchAvailability(watch_request(channel_id="nowhere")).read())

    assert channel.code is Code.NOT_FOUND


async def test_an_unknown_sku_is_listed_and_its_values_follow_once_it_is_known(shop: Retailer) -> None:
    async with watching(shop, "MUG", "VASE") as client:
        await client.receives(MUG=10)
        before = list(client.unknown_skus)
        await shop.stock({("VASE", "dc"): 3})
        await client.receives(MUG=10, VASE=3)

    assert before == client.unknown_skus == ["VASE"]


async def test_a_stream_above_the_limit_is_refused(retailers: RetailerMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WATCHERS", 1)
    shop = await retailers.make()
    async with watching(shop) as client:
        await client.is_ready()
        refused = await refusal(shop.availability.WatchAvailability(watch_request()).read())
    async with watching(shop) as resumed:
        await resumed.is_ready()

    assert (refused.code, refused.reason) == (Code.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert refused.retry_seconds > 0


async def test_values_that_were_sent_are_kept_to_explain_an_oversell(shop: Retailer) -> None:
    async with watching(shop) as client:
        await client.receives(MUG=10, PAN=5)
    await shop.count({("MUG", "dc"): 1})

    kept = "SELECT channel_id, sku, sellable, policy_revision FROM availability_history ORDER BY sku"

    async def is_written() -> bool:
        return len(await shop.sql(kept)) == 2

    # It is written after the values were sent.
    await eventually(is_written)
    rows = await shop.sql(kept)
    assert [tuple(row)[:3] for row in rows] == [("web", "MUG", 10), ("web", "PAN", 5)]
    assert all(row["policy_revision"] for row in rows)


async def test_metrics_count_subscribers_and_values_and_measure_the_delay(retailers: RetailerMaker) -> None:
    # A refresh would publish the count too, if it ran first.
    shop = await retailers.make(watch_refresh_seconds=15)
    await shop.stock({("MUG", "dc"): 10, ("PAN", "dc"): 5})
    assert shop.metric("availability_changes_published_total", channel="web") == 0
    async with watching(shop) as client:
        await client.receives(MUG=10, PAN=5)
        # The refresh in which new values take part may publish a count before the count itself is noticed.
        for units in range(1, 10):
            await shop.count({("MUG", "dc"): units})
            await client.receives(MUG=units)
            if shop.metric("availability_delay_seconds_count"):
                break
        assert shop.metric("availability_watchers") == 1
    await until(lambda: shop.metric("availability_watchers") == 0)
    method = "AvailabilityService/WatchAvailability"
    await until(lambda: shop.metric("rpc_duration_seconds_count", method=method, code="CANCELLED") == 1)

    assert shop.metric("availability_changes_published_total", channel="web") == 2 + units
    assert shop.metric("availability_delay_seconds_count") == 1
