"""When a stock read starts: at once for a lone caller, after a moment where many call again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from service.availability import availability_reader
from service.availability.availability_reader import AvailabilityReader, AvailabilityRequest, Snapshot
from service.catalog.catalog_store import CatalogCache
from service.database.database import Database
from service.metrics import Metrics
from tests.policies.small_retailer import ANYWHERE, rules
from truestock.v1 import availability_service_pb2 as availability_pb

PLAIN = rules(ANYWHERE)
REQUEST = AvailabilityRequest("pos", ("MUG",), "ship", None, include_locations=False)


@pytest.fixture
async def reader(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AvailabilityReader]:
    """A reader that waits for callers as long as it takes, so that a call that should not wait would hang."""
    for name in ("RETURN_SECONDS", "QUIET_SECONDS", "BUSY_SECONDS"):
        monkeypatch.setattr(availability_reader, name, 3_600)
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(database_url, metrics, connections=2)
    yield AvailabilityReader(database, CatalogCache(), metrics, lambda: PLAIN)
    await database.close()


async def read(reader: AvailabilityReader, callers: int) -> list[Snapshot]:
    async with asyncio.timeout(10):
        return await asyncio.gather(*(reader.read(["MUG"]) for _ in range(callers)))


async def test_a_lone_caller_never_waits_for_others(reader: AvailabilityReader) -> None:
    snapshots = [(await read(reader, 1))[0] for _ in range(5)]

    assert len({id(snapshot) for snapshot in snapshots}) == 5


async def test_a_read_after_one_for_many_callers_waits_until_they_are_back(reader: AvailabilityReader) -> None:
    await read(reader, 8)
    first_back = asyncio.create_task(reader.read(["MUG"]))
    done, _ = await asyncio.wait([first_back], timeout=0.05)
    others = await read(reader, 7)

    assert not done
    assert {id(snapshot) for snapshot in others} == {id(await first_back)}


async def test_callers_who_stay_away_delay_a_read_only_for_a_moment(
    reader: AvailabilityReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    await read(reader, 8)
    monkeypatch.setattr(availability_reader, "RETURN_SECONDS", 0.002)
    await read(reader, 1)
    monkeypatch.setattr(availability_reader, "RETURN_SECONDS", 3_600)

    await read(reader, 1)


async def test_a_read_waits_no_longer_once_no_more_callers_come(
    reader: AvailabilityReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    await read(reader, 8)
    monkeypatch.setattr(availability_reader, "QUIET_SECONDS", 0.002)

    await read(reader, 3)


async def test_the_time_in_which_callers_are_answered_is_none_in_which_they_stay_away(
    reader: AvailabilityReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability_reader, "QUIET_SECONDS", 0.3)

    async def asks_twice(answer_seconds: float) -> Snapshot:
        await reader.read(["MUG"])
        if answer_seconds:
            await asyncio.sleep(0)
            time.sleep(answer_seconds)  # noqa: ASYNC251 - as answers do, which take time of the event loop
            # Back only after turns in which a clock that ran meanwhile would have ended the wait.
            for _ in range(4):
                await asyncio.sleep(0)
        return await reader.read(["MUG"])

    async with asyncio.timeout(10):
        snapshots = await asyncio.gather(*(asks_twice(seconds) for seconds in (0, *[0.1] * 7)))

    assert len({id(snapshot) for snapshot in snapshots}) == 1


async def test_a_caller_who_comes_later_does_not_wait_for_earlier_ones(
    reader: AvailabilityReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    await read(reader, 8)
    monkeypatch.setattr(availability_reader, "BUSY_SECONDS", 0)

    await read(reader, 1)


async def test_a_call_whose_caller_has_given_up_is_not_read(
    reader: AvailabilityReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = asyncio.create_task(reader.read(["MUG"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    given_up = [asyncio.create_task(reader.read([f"CUP-{number}"])) for number in range(2)]
    await asyncio.sleep(0)
    for task in given_up:
        task.cancel()
    await reading
    await read(reader, 1)

    assert reader._metrics.registry.get_sample_value("truestock_availability_batch_calls_sum") == 2


async def test_callers_of_many_skus_share_the_read_after_the_answers_that_they_wait_for(database_url: str) -> None:
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(database_url, metrics, connections=2)
    reader = AvailabilityReader(database, CatalogCache(), metrics, lambda: PLAIN, waits_for_answers=True)
    snapshots, answered = [], asyncio.Event()

    async def call() -> None:
        snapshot = await reader.read(["MUG"])
        snapshots.append(snapshot)
        snapshot.large_answers["", REQUEST] = asyncio.ensure_future(_answer_after(answered))

    async with asyncio.timeout(10):
        await call()
        early, late = asyncio.create_task(call()), asyncio.create_task(call())
        done, _ = await asyncio.wait([early, late], timeout=0.05)
        answered.set()
        await asyncio.gather(early, late)
    await database.close()

    assert not done
    assert snapshots[0] is not snapshots[1] is snapshots[2]


async def _answer_after(event: asyncio.Event) -> availability_pb.CheckAvailabilityResponse:
    await event.wait()
    return availability_pb.CheckAvailabilityResponse()
