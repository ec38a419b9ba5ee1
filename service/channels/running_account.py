"""One account while a process works for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from service.channels.accounts import Account
from service.channels.adapter import Adapter, Platform
from service.channels.store.account_states import StoredTokens
from service.channels.truestock_api import TruestockApi


@dataclass(slots=True)
class RunningAccount:
    """An account with all that its work needs. `hinted` is set when something has arrived in this process."""

    account: Account
    platform: Platform
    adapter: Adapter
    tokens: StoredTokens
    api: TruestockApi
    is_paused: bool = True
    """Until the first look at its state."""
    start_time: datetime | None = None
    """Since when connectors read the shop; known before anything is read."""
    hinted: asyncio.Event = field(default_factory=asyncio.Event)
