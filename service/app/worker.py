"""One of several processes of a service, in place of the parts that only the first process has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from service.observability.scrape_log import ScrapeLog

FIRST = 1
"""The number of the worker that also does what one process does for all, such as housekeeping."""


@dataclass(slots=True)
class Worker:
    """A process that shares its address with others. Others answer `/metrics`: it reports to them.

    `kept_rules` are those to go on with if those in the folder are invalid, None if there are none.
    """

    number: int
    kept_rules: Mapping[str, bytes] | None
    on_ready: Callable[[bool], None]
    on_rules: Callable[[Mapping[str, bytes]], None]
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    scrapes: ScrapeLog = field(default_factory=ScrapeLog)
    port: int = 0
    _ready: bool = False

    def begin(self, registry: CollectorRegistry, rules: Mapping[str, bytes]) -> None:
        """Takes the registry whose metrics it reports, and the rules in force."""
        self.registry = registry
        self.on_rules(rules)

    @property
    def ready(self) -> bool:
        """Whether the database answers and this process takes calls."""
        return self._ready

    @ready.setter
    def ready(self, ready: bool) -> None:
        self._ready = ready
        self.on_ready(ready)

    async def not_ready(self, _: float = 0) -> None:
        """Reports that this process accepts no more calls."""
        self.ready = False
