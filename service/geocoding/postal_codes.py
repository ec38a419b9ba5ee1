"""The tables of postal codes that this process has read, each read by a process of its own when it is first needed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress

import structlog

from service.geocoding.postal_code_table import PostalCodeTable

KEPT_TABLES = 24
"""Countries whose postal codes stay in memory, at most 3.3 MB each: those that were used last."""
READ_SECONDS = 60
"""After which a process that reads a table is ended. It takes 0.2 to 4 seconds of CPU."""
RETRY_SECONDS = 60
"""After a table could not be read, its codes count as unknown for so long."""

log = structlog.get_logger()


class PostalCodes:
    """Tables by ISO 3166-1 alpha-2 code. Callers that need the same table wait for one process; one runs at a time."""

    def __init__(self) -> None:
        self._tables: OrderedDict[str, PostalCodeTable] = OrderedDict()
        self._readings: dict[str, asyncio.Task[PostalCodeTable]] = {}
        self._failed_at: dict[str, float] = {}
        self._turn = asyncio.Lock()
        self._has_ended = False

    async def of(self, country: str) -> PostalCodeTable:
        """The table of a country; empty if the data does not have it, or it cannot be read now."""
        table = self._tables.get(country)
        if table is not None:
            self._tables.move_to_end(country)
            return table
        if asyncio.get_running_loop().time() < self._failed_at.get(country, 0) + RETRY_SECONDS:
            return PostalCodeTable.empty(country)
        reading = self._readings.get(country)
        if reading is None:
            reading = self._readings[country] = asyncio.create_task(self._read(country))
        # A call that ends before does not end the reading: the next one finds the table.
        return await asyncio.shield(reading)

    async def load(self, countries: Iterable[str]) -> None:
        """Reads the tables of countries that are not in memory, one after the other, until the service ends."""
        for country in countries:
            if self._has_ended:
                return
            if country not in self._tables:
                # The end of the service cancels a reading, and not the work that waits for it.
                await asyncio.wait({asyncio.ensure_future(self.of(country))})

    async def run(self, stop: asyncio.Event) -> None:
        """Ends all readings after `stop`."""
        await stop.wait()
        self._has_ended = True
        for reading in tuple(self._readings.values()):
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    async def _read(self, country: str) -> PostalCodeTable:
        try:
            async with self._turn, asyncio.timeout(READ_SECONDS):
                table = PostalCodeTable.unpacked(await _output(country))
        except (OSError, ValueError, TimeoutError) as error:
            self._failed_at[country] = asyncio.get_running_loop().time()
            log.error("postal codes not read", country=country, error=str(error) or type(error).__name__)
            return PostalCodeTable.empty(country)
        finally:
            del self._readings[country]
        self._tables[country] = table
        if len(self._tables) > KEPT_TABLES:
            self._tables.popitem(last=False)
        return table


async def _output(country: str) -> bytes:
    """What the reading process writes. Raises OSError if it cannot start or fails."""
    command = (sys.executable, "-m", "service.geocoding.postal_code_reader", country)
    # Not by the event loop: uvloop calls fork(), which copies the page tables and stalls all calls the longer the more
    # memory the service uses, 15 ms with 400 MB. Popen calls vfork().
    pipe, none = subprocess.PIPE, subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=none, stdout=pipe, stderr=pipe)  # noqa: ASYNC220 - takes a millisecond
    try:
        output, errors = await asyncio.to_thread(process.communicate)
    finally:
        # Of a reading that is cancelled: the thread that waits for it then ends too.
        process.kill()
    if process.returncode:
        raise OSError(f"{' '.join(command[1:])} ended with {process.returncode}: {errors.decode()[-500:].strip()}")
    return output
