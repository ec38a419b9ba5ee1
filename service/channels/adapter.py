"""What the core asks of a platform: one protocol, no base class. A package can ship one by an entry point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from service.channels.accounts import Account
from service.channels.effects import Reading

COUNT = "count"
"""What every platform calls counts of stock among its `Abilities.kinds`."""


@dataclass(frozen=True, slots=True)
class Hint:
    """Something changed: what to read again, and when the channel says that it changed. Never a fact by itself."""

    kind: str
    """One of the platform's `Abilities.kinds`."""
    entity_id: str
    update_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message of a channel: its key, by which it is known when it is sent again, and what it hints at."""

    key: str
    topic: str
    hints: tuple[Hint, ...]
    is_readable: bool = True
    ends_authorization: bool = False
    """The shop has withdrawn the permission of the account."""
    shop: str = ""
    """The platform's id of the shop that it is of, if it says so: an app may hear of all its shops at one address."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of what changed, oldest first."""

    hints: tuple[Hint, ...]
    next_page: str = ""
    is_sorted: bool = True
    """Whether later pages have only later changes; otherwise the cursor stays where it is until the last page."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a platform can do; the core asks for nothing else."""

    kinds: tuple[str, ...]
    """What can be read and listed by update time, in the order in which the kinds are polled."""
    most_read: int
    """Entities that one call reads."""
    retries_for: timedelta
    """How long the platform goes on sending a webhook that nobody took."""
    delivery_key_days: int = 30


@dataclass(frozen=True, slots=True)
class ExternalOutlet:
    """A location or warehouse as the channel has it."""

    outlet_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ExternalItem:
    """A variant or SKU as the channel has it; `sku` is what the seller calls it there."""

    item_id: str
    sku: str


class CheckKind(StrEnum):
    """What a check is about."""

    SCOPE = "scope"
    WEBHOOK = "webhook"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that `connect` looked at: whether it works, and what a person has to do if not."""

    what: str
    works: bool
    todo: str = ""
    kind: CheckKind = CheckKind.OTHER


def scope_check(scope: str, todo: str, *, is_granted: bool) -> Check:
    """A permission of the shop; `todo` is how to get it."""
    return Check(f"scope {scope}", is_granted, "" if is_granted else todo, CheckKind.SCOPE)


def webhook_check(topic: str, problem: str = "") -> Check:
    """A webhook that is subscribed unless there is a problem."""
    return Check(f"webhook {topic}", not problem, problem, CheckKind.WEBHOOK)


class Adapter(Protocol):
    """One account on its platform. Every call raises Away, AuthorizationLost or Unreadable."""

    def verify(self, headers: Mapping[str, str], url: str, body: bytes) -> bool:
        """Whether the platform signed these bytes; names of headers are in lower case. Raises SecretMissing."""
        ...

    def delivery(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """What a verified webhook says; names of headers are in lower case."""
        ...

    async def read(self, kind: str, entity_ids: Sequence[str]) -> Mapping[str, Reading | Exception]:
        """Reads entities as they are now. An id that is missing in the answer does not exist at the channel."""
        ...

    async def changed(self, kind: str, since: datetime, page: str) -> Page:
        """What changed since a time, oldest first; `page` is `next_page` of the page before, empty for the first."""
        ...

    async def connect(self, code: str) -> list[Check]:
        """Gets tokens with the code that the shop's owner was given, or with those stored; subscribes webhooks."""
        ...

    async def check(self) -> list[Check]:
        """Compares scopes and webhooks with what should be there, and subscribes what is missing."""
        ...

    async def outlets(self) -> list[ExternalOutlet]:
        """Locations or warehouses that the channel sells from."""
        ...

    async def items(self) -> list[ExternalItem]:
        """Everything that the shop sells."""
        ...

    async def close(self) -> None:
        """Closes connections."""
        ...


class Tokens(Protocol):
    """The account's tokens; refreshed by one caller at a time."""

    async def current(self) -> Mapping[str, str]:
        """What is stored. Raises AuthorizationLost if there is nothing."""
        ...

    async def renewed(self, stale: Mapping[str, str]) -> Mapping[str, str]:
        """Newer tokens than `stale`: those that another caller got meanwhile, or refreshed now."""
        ...

    async def store(self, tokens: Mapping[str, str]) -> None:
        """Replaces what is stored."""
        ...


class OpenAdapter(Protocol):
    """Makes the adapter of an account."""

    def __call__(self, account: Account, tokens: Tokens) -> Adapter:
        """The adapter; it connects at its first call."""
        ...


class RefreshTokens(Protocol):
    """Gets new tokens for old ones."""

    async def __call__(self, account: Account, tokens: Mapping[str, str]) -> Mapping[str, str]:
        """The new tokens. Raises Away or AuthorizationLost."""
        ...


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform, found by the entry point `truestock.channels`."""

    name: str
    abilities: Abilities
    secret_names: tuple[str, ...]
    optional_secret_names: tuple[str, ...]
    open: OpenAdapter
    refresh: RefreshTokens
    has_copies: bool = False
    """Whether connectors of other channels make orders there."""
    token_life: str = "access_expires"
    """The token value that has the time, in seconds since 1970, at which the access token ends."""
    refresh_after: timedelta | None = None
    """The age at which tokens are refreshed, where the platform wants that earlier than late in their life."""
