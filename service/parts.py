"""What servicers, and what works beside them, are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from service.config import Settings
from service.database import Database
from service.metrics import Metrics
from service.policy_folder import PolicyFolder
from service.streams import Closing

Background = Callable[[asyncio.Event], Awaitable[None]]
"""Work that goes on until the event is set."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the servicers are made of."""

    settings: Settings
    database: Database
    folder: PolicyFolder
    metrics: Metrics
    closing: Closing = field(default_factory=Closing)
    background: list[Background] = field(default_factory=list)
    """What works beside the calls, from when they are served to when they end."""
