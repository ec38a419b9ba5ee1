"""Connects an account: tokens, webhooks, and the channel in Truestock's catalog."""

from __future__ import annotations

from collections.abc import Sequence

from service.channels.adapter import COUNT, Check
from service.channels.running_account import RunningAccount
from service.channels.store.connector_store import ConnectorStore
from service.cli.connectors.connector_site import ConnectorSite, with_store


def connect(site: ConnectorSite, name: str, code: str) -> list[Check]:
    """What works of an account, and what a person has to do. Raises UserError."""
    account = site.account(name)

    async def work(store: ConnectorStore) -> list[Check]:
        async with site.opened(account, store) as running:
            checks = [await _check_channel(running)]
            checks += await running.adapter.connect(code)
            await store.states.resume(name)
            if checks[0].works:
                await _report(running, store, checks)
            return [*checks, _check_returns(running), *await _check_counts(running)]

    return with_store(site.settings, work, may_make=True)


async def _check_channel(running: RunningAccount) -> Check:
    channel_id, platform = running.account.channel_id, running.account.platform
    what = f"channel {channel_id} in the catalog"
    channel = await running.api.channel()
    if channel is None:
        return Check(what, False, f"add it with `truestock import channels`, with the platform {platform}")
    if channel.platform != platform:
        return Check(what, False, f"its platform is '{channel.platform}'; set it to {platform}, so that statuses act")
    if not channel.HasField("unpaid_order_duration"):
        return Check(what, True, "unpaid orders are held for 15 minutes; set unpaid_order_duration to the platform's")
    return Check(what, True)


async def _check_counts(running: RunningAccount) -> list[Check]:
    if COUNT not in running.platform.abilities.kinds:
        return []
    what = "counts of stock"
    if await running.api.counts.is_declared():
        return [Check(what, True)]
    source = running.api.counts.source
    todo = f"not taken; to compare or to own them, declare the feed {source} with `truestock import feeds`"
    return [Check(what, True, todo)]


async def _report(running: RunningAccount, store: ConnectorStore, checks: Sequence[Check]) -> None:
    """Tells Truestock what was found, so that readiness need not wait for the connectors' own look."""
    shop = await running.api.reports.shop_state(running.adapter, checks)
    for state in await store.states.listed():
        if state["account"] == running.account.name:
            await running.api.reports.send(state, shop)


def _check_returns(running: RunningAccount) -> Check:
    if running.account.returns_location is None:
        return Check("where returns go", False, "state 'returns: {location: ID}' in the accounts file")
    return Check("where returns go", True)
