"""The inbox on a real PostgreSQL: what arrives is kept once, and each entity is read by one worker at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from service.channels.adapter import Delivery, Hint
from service.channels.store import inbox as inbox_module, schema
from service.channels.store.connector_store import ConnectorStore
from service.channels.store.delivery_batches import DeliveryBatches
from service.channels.store.inbox import MOST_ATTEMPTS, Claim, Inbox

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
async def store(empty_database_url: str) -> AsyncIterator[ConnectorStore]:
    await schema.migrate(empty_database_url)
    store = await ConnectorStore.open(empty_database_url)
    yield store
    await store.close()


@pytest.fixture
def inbox(store: ConnectorStore) -> Inbox:
    return store.inbox


def delivery(key: str, *order_ids: str, time: datetime = NOW) -> Delivery:
    return Delivery(key, "type_1", tuple(Hint("order", order_id, time) for order_id in order_ids))


async def claim(inbox: Inbox) -> list[Claim]:
    return await inbox.claim("shop", "order", 50)


async def states(inbox: Inbox) -> dict[str, str]:
    return {row["entity_id"]: row["state"] for row in await inbox.listed("", "", inbox_module.STATES, 100)}


async def test_hints_become_one_read_of_each_order_and_the_same_delivery_counts_once(inbox: Inbox) -> None:
    taken = [
        await inbox.accept("shop", [delivery("1", "A"), delivery("2", "A"), delivery("3", "B")]),
        await inbox.accept("shop", [delivery("1", "A")]),
        await inbox.accept("shop", [delivery("4", "A")]),
        await inbox.accept("other", [delivery("1", "A")]),
    ]

    claims = await claim(inbox)

    assert taken == [{"1", "2", "3"}, set(), {"4"}, {"1"}]
    assert sorted(one.entity_id for one in claims) == ["A", "B"]
    assert await claim(inbox) == []


async def test_a_hint_that_comes_while_an_order_is_read_has_it_read_again(inbox: Inbox) -> None:
    await inbox.accept("shop", [delivery("1", "A")])
    (first,) = await claim(inbox)
    await inbox.accept("shop", [delivery("2", "A")])
    await inbox.finish(first, NOW, NOW)

    (second,) = await claim(inbox)
    await inbox.finish(second, NOW, NOW)

    assert await claim(inbox) == []
    assert await states(inbox) == {"A": "done"}


async def test_content_that_fails_five_times_is_parked_and_replayed_on_demand(inbox: Inbox) -> None:
    await inbox.accept("shop", [delivery("1", "A")])
    for _ in range(MOST_ATTEMPTS):
        (one,) = await _due(inbox)
        await inbox.fail(one, "it has no lines", "A", unmapped=False)
    parked = await states(inbox)
    (failed,) = await inbox.unreported("shop")
    await inbox.reported("shop", failed, is_open=True)
    told = await inbox.unreported("shop")
    replayed = await inbox.replay("shop", "A")
    (again,) = await claim(inbox)
    await inbox.finish(again, NOW, NOW)
    recovered = [found.entity_id for found in await inbox.recovered("shop")]

    assert parked == {"A": "parked"}
    assert (failed.failure, failed.order_id, told, replayed) == ("it has no lines", "A", [], 1)
    assert recovered == ["A"]


async def test_an_outage_is_no_attempt(inbox: Inbox) -> None:
    await inbox.accept("shop", [delivery("1", "A")])
    for _ in range(MOST_ATTEMPTS + 1):
        (one,) = await _due(inbox)
        await inbox.postpone(one, timedelta(0))

    assert await states(inbox) == {"A": "waiting"}


async def test_what_a_dead_worker_held_is_taken_over_and_its_late_end_changes_nothing(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await inbox.accept("shop", [delivery("1", "A")])
    monkeypatch.setattr(inbox_module, "LEASE", timedelta(0))
    (dead,) = await claim(inbox)
    (alive,) = await claim(inbox)

    await inbox.fail(dead, "late", "A", unmapped=False)
    await inbox.finish(alive, NOW, NOW)

    assert await states(inbox) == {"A": "done"}


async def test_a_poll_hints_only_at_what_has_changed_since_it_was_read(inbox: Inbox) -> None:
    await inbox.accept("shop", [delivery("1", "A")])
    (one,) = await claim(inbox)
    await inbox.finish(one, NOW, NOW + timedelta(minutes=1))

    await inbox.accept("shop", [delivery("poll/1", "A")], polled=True)
    unchanged = await claim(inbox)
    await inbox.accept("shop", [delivery("poll/2", "A", time=NOW + timedelta(seconds=1))], polled=True)
    changed = await claim(inbox)

    assert unchanged == []
    assert [found.entity_id for found in changed] == ["A"]


async def test_many_workers_never_read_an_order_at_the_same_time(inbox: Inbox) -> None:
    await inbox.accept("shop", [delivery(str(number), f"order-{number % 20}") for number in range(60)])

    batches = await asyncio.gather(*(inbox.claim("shop", "order", 3) for _ in range(12)))

    claimed = [one.entity_id for batch in batches for one in batch]
    assert len(claimed) == len(set(claimed)) == 20


async def test_what_is_old_is_forgotten_and_what_waits_is_not(store: ConnectorStore) -> None:
    inbox = store.inbox
    await inbox.accept("shop", [delivery("1", "A"), delivery("2", "B")])
    first = next(one for one in await claim(inbox) if one.entity_id == "A")
    await inbox.finish(first, NOW, NOW)

    await inbox.purge(timedelta(0))

    assert await states(inbox) == {"B": "waiting"}
    assert await inbox.accept("shop", [delivery("1", "A")]) == {"1"}


async def test_webhooks_that_come_together_are_each_new_repeated_or_refused_by_themselves(inbox: Inbox) -> None:
    batches = DeliveryBatches(inbox)
    together = ["first", "1", "1", "no text of PostgreSQL: \0", "2"]

    results = await asyncio.gather(
        *(batches.store("shop", delivery(key, key)) for key in together), return_exceptions=True
    )

    assert results[:3] == [True, True, False]
    assert isinstance(results[3], asyncpg.CharacterNotInRepertoireError)
    assert results[4] is True
    assert set(await states(inbox)) == {"first", "1", "2"}


async def test_a_sender_that_hangs_up_takes_no_other_webhook_with_it(store: ConnectorStore) -> None:
    batches = DeliveryBatches(store.inbox)
    async with store.pool.transaction() as held:
        await held.execute(f"LOCK TABLE {schema.SCHEMA}.deliveries")
        stored = [asyncio.create_task(batches.store("shop", delivery(str(number), "A"))) for number in range(5)]
        await asyncio.sleep(0)
        for task in stored[1:3]:
            task.cancel()

    results = await asyncio.gather(*stored, return_exceptions=True)

    assert [results[0], *results[3:]] == [True, True, True]


async def _due(inbox: Inbox) -> list[Claim]:
    """Everything, also what is not due yet."""
    await inbox._pool.rows(f"UPDATE {schema.SCHEMA}.entities SET next_attempt_time = now()")
    return await claim(inbox)


async def test_what_was_done_without_being_read_is_read_when_a_poll_finds_it(inbox: Inbox) -> None:
    await inbox.accept("shop", [delivery("1", "A")])
    (unread,) = await claim(inbox)
    await inbox.finish(unread, None, NOW + timedelta(minutes=1))
    await inbox.accept("shop", [delivery("poll/1", "A")], polled=True)

    assert await states(inbox) == {"A": "waiting"}
