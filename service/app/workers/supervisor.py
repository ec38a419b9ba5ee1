"""The first process of a service with workers: it owns the address and the embedded database, and sees to the workers.

It answers no calls. Rules are each worker's own to watch, so that a saved change is in force on all within the two
seconds that each has; they differ in between as services on several machines do.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from service.app.application import Running, background, metrics_server_of, signing_key_of
from service.app.database_source import DatabaseSource, find_database
from service.app.drain import Drain
from service.app.first_rules import first_rules
from service.app.listening import listening
from service.app.reserved_port import reserve
from service.app.worker import FIRST
from service.app.workers.workers import Workers
from service.background import every
from service.metrics import Metrics
from service.observability.scrape_log import ScrapeLog
from service.settings import Address, Settings

WORKER_CLOSING_SECONDS = 1.0
"""Beyond the time that a service alone has to stop: its workers stop before the rest of it."""
LOOK_SECONDS = 1.0
CONNECTIONS_OF_WORKER = 2


@asynccontextmanager
async def running_workers(settings: Settings, hurried: asyncio.Event | None = None) -> AsyncIterator[Running]:
    """Runs a service of several processes until the block ends, as `application.running` runs one of one process."""
    listens = listening(settings)
    signing_key_of(settings)
    metrics, scrapes = Metrics(CollectorRegistry()), ScrapeLog()
    # Read here too, so that a refused folder leaves no process, port or database behind.
    rules = await first_rules(settings, metrics)
    async with Drain(settings.drain_seconds + WORKER_CLOSING_SECONDS) as drain:
        # No other program gets it while a worker starts again.
        address = reserve(listens.address, drain)
        source = await find_database(settings, drain)
        workers = Workers(_settings_of_workers(settings, source, address), metrics, scrapes, rules.current.files)
        registry = CollectorRegistry()
        registry.register(workers)
        metrics_server = metrics_server_of(listens, registry, drain, scrapes)
        hurrying = asyncio.create_task(workers.hurry(hurried or asyncio.Event()))
        drain.add("calls to cut off", lambda _: _cancel(hurrying))
        drain.add("workers", workers.stop, at_once=True)

        def follow_ready() -> None:
            metrics_server.ready = workers.is_ready

        workers.on_change = follow_ready
        first = await workers.start()
        lost = asyncio.Event()

        async def look() -> None:
            await listens.authentication.reload()
            workers.tell_of_scrape()
            workers.look()
            if source.has_ended:
                lost.set()

        background(
            drain, "database, access file, scrapes and workers that hang", lambda stop: every(LOOK_SECONDS, stop, look)
        )
        background(drain, "keys of the issuer", listens.authentication.follow_keys)
        yield Running(
            address=str(address),
            metrics_address=str(Address(listens.metrics_address.host, metrics_server.port)),
            database=source.description if source.embedded else first.database,
            policy_revision=first.policy_revision,
            loaded_sample=first.loaded_sample,
            has_sample=first.has_sample,
            has_tls=listens.certificates is not None,
            metrics=metrics,
            lost=lost,
        )


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def _settings_of_workers(settings: Settings, source: DatabaseSource, address: Address) -> list[Settings]:
    """The settings of each worker: what the service has once, such as connections and lines of the log, is shared."""
    count = settings.workers
    instance = settings.instance or socket.gethostname()
    common = {
        "workers": 1,
        "address": str(address),
        "database_url": source.url,
        "database_url_file": None,
        "read_database_url_file": None,
        "database_pool_size": max(CONNECTIONS_OF_WORKER, settings.database_pool_size // count),
        "log_calls_per_second": settings.log_calls_per_second / count,
    }
    sample = settings.sample if settings.sample is not None else source.embedded is not None
    return [
        settings.model_copy(update={**common, "sample": sample and number == FIRST, "instance": f"{instance}/{number}"})
        for number in range(FIRST, FIRST + count)
    ]
