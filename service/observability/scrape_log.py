"""Who read the metrics of this service last, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

AGENT_LENGTH = 100
"""Characters of the name of a program that are kept."""


@dataclass(frozen=True, slots=True)
class LastScrape:
    """The last time that a program read the metrics: its name as it states it, and its address."""

    time: datetime
    agent: str
    address: str


class ScrapeLog:
    """Keeps the last one. The thread of the metrics port writes it, in one assignment."""

    def __init__(self) -> None:
        self.last: LastScrape | None = None

    def note(self, agent: str, address: str) -> None:
        """Notes that the metrics were read now."""
        printable = "".join(character for character in agent if character.isprintable())
        self.last = LastScrape(datetime.now(UTC), printable[:AGENT_LENGTH], address)
