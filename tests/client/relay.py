"""A network between a client and a service that loses answers, breaks connections and is away for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Relay:
    """Passes bytes on between a port of its own and a service."""

    def __init__(self, service_address: str) -> None:
        self._host, _, self._port = service_address.rpartition(":")
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.address = ""
        self._clients: set[asyncio.StreamWriter] = set()
        self._silent: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Takes connections, on the same port each time."""
        port = int(self.address.rpartition(":")[2] or 0)
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", port)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def lose_answers(self) -> None:
        """From now on nothing that the service sends over the present connections arrives, and no connection breaks."""
        self._silent |= self._clients

    def cut(self) -> None:
        """Breaks every connection; new ones are taken."""
        for writer in self._writers:
            writer.transport.abort()

    def close(self) -> None:
        """Breaks every connection and takes no more."""
        if self._server:
            self._server.close()
        self.cut()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        service_reader, service_writer = await asyncio.open_connection(self._host, int(self._port))
        writers = {writer, service_writer}
        self._writers |= writers
        self._clients.add(writer)
        with suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.wait(
                {
                    asyncio.create_task(self._pass_on(reader, service_writer)),
                    asyncio.create_task(self._pass_on(service_reader, writer)),
                },
                return_when=asyncio.FIRST_COMPLETED,
            )
        self._writers -= writers
        for each in writers:
            each.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if writer not in self._silent:
                    writer.write(data)
                    await writer.drain()


@asynccontextmanager
async def relay_to(service_address: str) -> AsyncIterator[Relay]:
    """An open relay."""
    relay = Relay(service_address)
    await relay.open()
    try:
        yield relay
    finally:
        relay.close()
