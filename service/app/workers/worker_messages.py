"""What the first process of a service and its workers send each other: messages with their length before them."""

from __future__ import annotations

import asyncio
import pickle
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import Metric

from service.observability.scrape_log import LastScrape
from service.settings import Settings

_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Start:
    """To a worker: its number from 1, its settings, and rules to go on with if those in the folder are invalid."""

    number: int
    settings: Settings
    rules: Mapping[str, bytes] | None


@dataclass(frozen=True, slots=True)
class Stop:
    """To a worker: finish the calls in flight and end; if it comes again, cut them off."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """To a worker: report metrics."""


@dataclass(frozen=True, slots=True)
class Scraped:
    """To a worker: who read the metrics of all processes last."""

    last: LastScrape


@dataclass(frozen=True, slots=True)
class Ping:
    """To a worker: answer from the event loop, by which it answers calls too."""


@dataclass(frozen=True, slots=True)
class Pong:
    """Of a worker: the answer to `Ping`."""


@dataclass(frozen=True, slots=True)
class Started:
    """Of a worker: it answers calls."""

    database: str
    policy_revision: str
    loaded_sample: bool
    has_sample: bool


@dataclass(frozen=True, slots=True)
class NotStarted:
    """Of a worker: why it cannot start."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ready:
    """Of a worker: whether the database answers it and it takes calls."""

    ready: bool


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """Of a worker: the files of the rules that came into force."""

    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Counted:
    """Of a worker: its metrics, asked for by `Scrape`, or its last."""

    families: Sequence[Metric]


async def receive(reader: asyncio.StreamReader) -> object | None:
    """The next message; None if the other side has ended."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        # Both sides are processes of this service.
        message: object = pickle.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, OSError):
        return None
    return message


def send(writer: asyncio.StreamWriter, message: object) -> None:
    """Sends a message; one to a side that has ended is lost."""
    content = pickle.dumps(message)
    writer.write(_LENGTH.pack(len(content)) + content)
