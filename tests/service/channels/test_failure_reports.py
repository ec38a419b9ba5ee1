"""An exception is open as long as something that it is about fails, and says what that is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import grpc

from service.channels import connectors
from service.channels.adapter import Delivery, Hint
from service.channels.connector_metrics import ConnectorMetrics
from service.channels.store.inbox import Inbox
from service.channels.upkeep import Upkeep
from tests.connector_site import ACCOUNT, Site

NOW = datetime(2026, 11, 1, tzinfo=UTC)


async def test_an_exception_about_two_returns_stays_until_both_work(site: Site) -> None:
    inbox = site.store.inbox
    async with _upkeep(site) as upkeep:
        for return_id in ("1", "2"):
            await _fail(inbox, "return", return_id, f"return {return_id} is odd", "42")
        await upkeep.look()
        await _work(inbox, "return", "1")
        await upkeep.look()
        await upkeep.look()
        open_after_one = await _descriptions(site)
        await _work(inbox, "return", "2")
        await upkeep.look()
        open_after_both = await _descriptions(site)

    assert open_after_one == ["return 2: return 2 is odd"]
    assert open_after_both == []


async def test_an_exception_says_what_fails_now_and_ends_though_the_failure_changed_meanwhile(site: Site) -> None:
    inbox = site.store.inbox
    async with _upkeep(site) as upkeep:
        await _fail(inbox, "return", "1", "it cannot be read", "")
        await upkeep.look()
        await _fail(inbox, "return", "1", "its order has not arrived", "42")
        await upkeep.look()
        said = await _descriptions(site)
        await inbox.replay()
        await _fail(inbox, "return", "1", "an attempt that is not the last one", "42", final=False)
        await _work(inbox, "return", "1")
        await upkeep.look()

    assert said == ["return 1: its order has not arrived"]
    assert await _descriptions(site) == []


async def test_the_end_of_a_pause_leaves_exceptions_about_what_still_fails(site: Site) -> None:
    async with _upkeep(site) as upkeep:
        await site.store.states.pause(ACCOUNT, "the shop has withdrawn its permission")
        await _fail(site.store.inbox, "return", "1", "it cannot be read", "")
        await upkeep.look()
        paused = await _descriptions(site)
        await site.store.states.resume(ACCOUNT)
        await upkeep.look()
        await upkeep.look()

    assert len(paused) == 2
    assert await _descriptions(site) == ["return 1: it cannot be read"]


@asynccontextmanager
async def _upkeep(site: Site) -> AsyncIterator[Upkeep]:
    async with grpc.aio.insecure_channel(site.grpc_address) as channel:
        account = site.setup.accounts.accounts[0]
        async with connectors.opened(account, site.setup, site.store, channel) as running:
            yield Upkeep({account.name: running}, site.store, ConnectorMetrics())


async def _fail(inbox: Inbox, kind: str, entity_id: str, failure: str, order_id: str, *, final: bool = True) -> None:
    await inbox.accept(ACCOUNT, [Delivery(f"{entity_id}/{failure}", "type_12", (Hint(kind, entity_id),))])
    (claim,) = await inbox.claim(ACCOUNT, kind, 1)
    await inbox.fail(claim, failure, order_id, unmapped=False, final=final)


async def _work(inbox: Inbox, kind: str, entity_id: str) -> None:
    await inbox.replay(entity_id=entity_id, states=("waiting", "parked"))
    (claim,) = await inbox.claim(ACCOUNT, kind, 1)
    await inbox.finish(claim, NOW, NOW)


async def _descriptions(site: Site) -> list[str]:
    return [found.description for found in await site.retailer.open_exceptions() if found.kind == "sync_failed"]
