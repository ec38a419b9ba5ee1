"""A worker: the service as it runs alone, on an address that it shares, told by a socket when to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress

import uvloop

from service.app.application import running
from service.app.garbage_collector import spare_started_objects
from service.app.listening import StartError
from service.app.worker import Worker
from service.app.workers.worker_messages import (
    Counted,
    NotStarted,
    Ping,
    Pong,
    Ready,
    RulesInForce,
    Scrape,
    Scraped,
    Start,
    Started,
    Stop,
    receive,
    send,
)
from service.observability.log_output import configure_logs
from service.policy.active_policies import RulesFolderError


class _Link:
    """The connection to the first process. The worker stops when that process says so, or ends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, start: Start) -> None:
        self._reader, self._writer = reader, writer
        self.stop, self.hurried = asyncio.Event(), asyncio.Event()
        self.worker = Worker(
            start.number,
            start.rules,
            on_ready=lambda ready: self.send(Ready(ready)),
            on_rules=lambda files: self.send(RulesInForce(files)),
        )
        self._starting = asyncio.current_task()

    def send(self, message: object) -> None:
        """Sends a message to the first process, unless that has ended."""
        if not self._writer.is_closing():
            send(self._writer, message)

    def started(self) -> None:
        """From now on a stop lets calls finish; before, it ends the start."""
        self._starting = None

    def end(self) -> None:
        """Stops the worker, as a signal to it alone does."""
        if self.stop.is_set():
            return
        self.stop.set()
        if self._starting is not None:
            self._starting.cancel()

    async def follow(self) -> None:
        """Does what the first process asks for."""
        while (message := await receive(self._reader)) is not None:
            match message:
                case Ping():
                    self.send(Pong())
                case Scraped(last):
                    self.worker.scrapes.last = last
                case Scrape():
                    self.send(await asyncio.to_thread(self.counted))
                case Stop() if self.stop.is_set():
                    self.hurried.set()
                case Stop():
                    self.end()
        self.end()

    def counted(self) -> Counted:
        """The metrics of this worker."""
        return Counted(list(self.worker.registry.collect()))

    async def close(self) -> None:
        """Sends what is still to be sent."""
        if self._writer.is_closing():
            return
        with suppress(OSError):
            await self._writer.drain()
            self._writer.close()
            await self._writer.wait_closed()


async def _work(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection)
    start = await receive(reader)
    if not isinstance(start, Start):
        return
    configure_logs(start.settings.log_format)
    link = _Link(reader, writer, start)
    # Ctrl-C reaches the first process; a service manager may send SIGTERM to all.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, link.end)
    following = asyncio.create_task(link.follow())
    try:
        await _serve(link, start)
    except asyncio.CancelledError:
        pass
    except (RulesFolderError, StartError) as error:
        link.send(NotStarted(str(error)))
    link.send(link.counted())
    following.cancel()
    await link.close()


async def _serve(link: _Link, start: Start) -> None:
    async with running(start.settings, link.hurried, link.worker) as service:
        link.started()
        spare_started_objects()
        link.send(Started(service.database, service.policy_revision, service.loaded_sample, service.has_sample))
        await link.stop.wait()


def main(descriptor: str) -> None:
    """Works on the socket with this descriptor until the first process of the service ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    connection = socket.socket(fileno=int(descriptor))
    # A process that this one starts must not keep it open: the end of the connection is the end of this worker.
    connection.set_inheritable(False)
    uvloop.run(_work(connection))
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything has ended; see `service.app.process`.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
