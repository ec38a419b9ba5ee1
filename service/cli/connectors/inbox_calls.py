"""Reads the connectors' tables: how each account is, and what its channel has hinted at."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from service.channels.accounts import Account
from service.channels.routine import SUBSCRIPTIONS, SWEEP
from service.channels.store.connector_store import ConnectorStore
from service.channels.store.inbox import STATES
from service.cli import options
from service.cli.connectors.connector_site import ConnectorSite, with_store
from service.settings import Settings

UNFINISHED = tuple(state for state in STATES if state != "done")


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """One account as it is now."""

    account: str
    platform: str
    channel_id: str
    state: str
    """`not connected`, `running` or `paused`."""
    pause_reason: str
    delivery_time: datetime | None
    poll_time: datetime | None
    """When the last poll of the kind that is furthest behind ended."""
    token_expire_time: datetime | None
    waiting_count: int
    unmapped_count: int
    parked_count: int

    def as_dict(self) -> dict[str, Any]:
        """The status for `--json`."""
        return _plain(asdict(self))


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """One order, cancellation or return that a channel has hinted at."""

    account: str
    kind: str
    entity_id: str
    state: str
    failure: str
    attempt_count: int
    hint_count: int
    read_count: int
    first_hint_time: datetime
    update_time: datetime | None
    read_time: datetime | None
    next_attempt_time: datetime

    def as_dict(self) -> dict[str, Any]:
        """The entry for `--json`."""
        return _plain(asdict(self))


def status(site: ConnectorSite) -> list[AccountStatus]:
    """Every account of the accounts file. Raises UserError."""

    async def read(store: ConnectorStore) -> list[AccountStatus]:
        states = {row["account"]: row for row in await store.states.listed()}
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for row in await store.inbox.counts():
            counts[row["account"]][row["state"]] += row["count"]
        polls: dict[str, list[datetime | None]] = defaultdict(list)
        for row in await store.cursors.listed():
            if row["kind"] not in (SUBSCRIPTIONS, SWEEP):
                polls[row["account"]].append(row["poll_time"])
        return [
            _status(account, states.get(account.name), polls[account.name], counts[account.name])
            for account in site.setup.accounts.accounts
        ]

    return with_store(site.settings, read)


def listed(settings: Settings, account: str, entity_id: str, states: Sequence[str], most: int) -> list[InboxEntry]:
    """Entries of the inbox, the newest hints first. Raises UserError."""
    words = {state: state for state in STATES}
    wanted = [options.word("--state", state, words) for state in states] or (STATES if entity_id else UNFINISHED)

    async def read(store: ConnectorStore) -> list[InboxEntry]:
        return [InboxEntry(**dict(row)) for row in await store.inbox.listed(account, entity_id, wanted, most)]

    return with_store(settings, read)


def replay(settings: Settings, account: str, entity_id: str) -> int:
    """Has entries read again, and returns how many. Raises UserError."""

    async def work(store: ConnectorStore) -> int:
        if entity_id:
            return await store.inbox.replay(account, entity_id, STATES)
        return await store.inbox.replay(account)

    return with_store(settings, work)


def end(settings: Settings, account: str, entity_id: str) -> int:
    """Ends entries that a person has seen to, and returns how many. Raises UserError."""

    async def work(store: ConnectorStore) -> int:
        return await store.inbox.end(account, entity_id)

    return with_store(settings, work)


def _status(account: Account, state: Any, polls: list[datetime | None], counts: Mapping[str, int]) -> AccountStatus:
    pause_reason = "" if state is None else state["pause_reason"]
    has_tokens = state is not None and state["has_tokens"]
    return AccountStatus(
        account.name,
        account.platform,
        account.channel_id,
        "paused" if pause_reason else "running" if has_tokens else "not connected",
        pause_reason,
        None if state is None else state["delivery_time"],
        min((time for time in polls if time is not None), default=None) if all(polls) else None,
        None if state is None else state["token_expire_time"],
        *(counts.get(wanted, 0) for wanted in UNFINISHED),
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
