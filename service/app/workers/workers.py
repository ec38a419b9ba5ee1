"""The workers of one service: started, kept running, stopped, and their metrics as those of one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog
from prometheus_client import Metric
from prometheus_client.registry import Collector

from service.app.listening import StartError
from service.app.worker import FIRST
from service.app.workers.merged_metrics import MergedMetrics, MergeRules
from service.app.workers.worker_link import WorkerLink
from service.app.workers.worker_messages import RulesInForce, Scraped, Start, Started
from service.background import pause
from service.metrics import Metrics
from service.observability.scrape_log import ScrapeLog
from service.settings import Settings

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 10.0
"""Until a worker that ended is started again: twice as long each time that it ends soon."""
STEADY_SECONDS = 30.0
"""A worker that ran for this long is started again as soon as the first time."""
LOOKS_UNANSWERED, LOOKS_OF_START = 30, 300
"""A worker that leaves so many looks in a row unanswered hangs and is ended: one that has started, and one that has
not. Nothing of ours keeps an event loop for more than a second; a machine with too much work may."""
SCRAPE_SECONDS = 2.0
"""How long a scrape waits for the metrics of a worker; then it gets those that the worker reported last."""
FAREWELL_SECONDS = 0.2
"""What is kept of a stop to end workers that do not end by themselves."""


class Workers(Collector):
    """One process for each of the settings. `is_ready` says whether any of them takes calls."""

    def __init__(
        self, settings: Sequence[Settings], metrics: Metrics, scrapes: ScrapeLog, rules: Mapping[str, bytes]
    ) -> None:
        """`metrics` are those of this process, and `rules` those that start with it."""
        self._settings = dict(enumerate(settings, FIRST))
        self._metrics = metrics
        self._merged = MergedMetrics(MergeRules(metrics.across, metrics.bounds))
        self._scrapes, self._scraped = scrapes, scrapes.last
        self._rules = rules
        self._loop = asyncio.get_running_loop()
        self._links: dict[int, WorkerLink] = {}
        self._keeping: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._started: dict[int, asyncio.Future[Started]] = {
            number: self._loop.create_future() for number in self._settings
        }
        self._all_started = False
        self.on_change: Callable[[], None] = lambda: None
        """Called when `is_ready` may have changed."""

    @property
    def is_ready(self) -> bool:
        """Whether calls are answered: all workers have started once, one at least is ready, and no stop has begun."""
        any_ready = any(link.ready for link in self._links.values())
        return any_ready and self._all_started and not self._stopping.is_set()

    async def start(self) -> Started:
        """Starts the first one, which may load the sample, and then the others. Raises StartError."""
        first = await self._start(FIRST)
        await asyncio.gather(*(self._start(number) for number in self._settings if number != FIRST))
        self._all_started = True
        self.on_change()
        return first

    async def stop(self, seconds: float) -> None:
        """Lets all finish their calls and end, within these seconds."""
        self._stopping.set()
        self.on_change()
        self._tell_to_stop()
        if self._keeping:
            await asyncio.wait(self._keeping, timeout=max(0.0, seconds - FAREWELL_SECONDS))
        for link in self._links.values():
            link.kill()

    async def hurry(self, hurried: asyncio.Event) -> None:
        """Cuts off the calls in flight of all workers once that is asked for."""
        await hurried.wait()
        self._tell_to_stop()

    def collect(self) -> Iterator[Metric]:
        """The metrics of all workers; for the thread of the metrics port."""
        asking = asyncio.run_coroutine_threadsafe(self._ask(), self._loop)
        return iter(asking.result(SCRAPE_SECONDS + 1))

    def look(self) -> None:
        """Ends workers that hang; they are started again. To be called once a second."""
        for number, link in self._links.items():
            unanswered = link.look()
            if unanswered == (LOOKS_OF_START if link.started is None else LOOKS_UNANSWERED):
                self._metrics.service.worker_hangs.inc()
                link.reason = f"it did not answer {unanswered} looks in a row"
                log.error("a worker hangs and is ended", worker=number, pid=link.pid, looks=unanswered)
                link.kill()

    def tell_of_scrape(self) -> None:
        """Tells the workers who read the metrics, if somebody did since."""
        if self._scrapes.last is not None and self._scrapes.last is not self._scraped:
            self._scraped = self._scrapes.last
            for link in self._links.values():
                link.send(Scraped(self._scraped))

    async def _ask(self) -> list[Metric]:
        links = list(self._links.values())
        await asyncio.gather(*(link.scrape(SCRAPE_SECONDS) for link in links))
        own = (self._metrics.service.worker_restarts, self._metrics.service.worker_hangs)
        return self._merged.collect([family for metric in own for family in metric.collect()])

    async def _start(self, number: int) -> Started:
        self._keeping.append(asyncio.create_task(self._keep(number)))
        return await self._started[number]

    async def _keep(self, number: int) -> None:
        """Runs one worker until the service stops, again and again."""
        seconds = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                exit_code, link = await self._run(number)
                pid, reason = link.pid, link.reason
            except OSError as error:
                exit_code, pid, reason = None, None, f"no process can be started: {error.strerror}"
            if self._stopping.is_set():
                return
            started = self._started[number]
            if not started.done():
                reason = reason or f"worker {number} ended with {exit_code} before it answered calls"
                started.set_exception(StartError(reason))
                return
            if time.monotonic() - began >= STEADY_SECONDS:
                seconds = FIRST_PAUSE_SECONDS
            self._metrics.service.worker_restarts.inc()
            log.error(
                "a worker ended and is started again",
                worker=number,
                pid=pid,
                exit_code=exit_code,
                reason=reason or None,
                pause_seconds=seconds,
            )
            await pause(self._stopping, seconds)
            seconds = min(2 * seconds, LONGEST_PAUSE_SECONDS)

    async def _run(self, number: int) -> tuple[int, WorkerLink]:
        """Runs one process to its end."""
        settings = self._settings[number]
        link = await WorkerLink.start(Start(number, settings, self._rules))
        # The sample is loaded once; whoever deletes it while the service runs does not get it again.
        self._settings[number] = settings.model_copy(update={"sample": False})
        self._links[number] = link
        if self._stopping.is_set():
            link.stop()
        if self._scraped is not None:
            link.send(Scraped(self._scraped))

        def changed() -> None:
            started = self._started[number]
            if link.started is not None and not started.done():
                started.set_result(link.started)
            self.on_change()

        exit_code = await link.follow(
            changed=changed,
            counted=lambda families: self._merged.report(number, families),
            rules=self._take_rules,
        )
        self._merged.end(number)
        del self._links[number]
        self.on_change()
        return exit_code, link

    def _take_rules(self, rules: RulesInForce) -> None:
        self._rules = rules.files

    def _tell_to_stop(self) -> None:
        for link in self._links.values():
            link.stop()
