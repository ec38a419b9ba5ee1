"""gRPC servers at one address that go on after a request has ended one of them.

A server of grpcio takes one call after the other, each with several turns of the event loop in between (grpcio 1.85),
however many wait. Several servers at the address take calls side by side: the operating system gives each connection
to one of them.

grpcio reads the path of a request as UTF-8 outside of any call: one request with another path, from anyone who can
connect, ends the loop that takes requests, and with it the listener, while the process goes on (grpcio 1.85). Nothing
can look at the path before that, so a new server takes the place of the old one, which still answers its calls. After
a few or many of these requests grpcio may end the whole process with a memory fault, whether or not old servers are
stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc

from service.app.call_queues import with_own_queue
from service.background import FailureLog

LOOK_SECONDS = 0.05
"""How often it is looked whether the server still takes requests."""
OLD_CALLS_SECONDS = 30.0
"""What the calls of an ended server get to finish; watches then end and begin again at the new one."""

SetUp = Callable[[grpc.aio.Server], object]
AddPort = Callable[[grpc.aio.Server, str], int]


class RestartedServers:
    """Are set up, started and stopped like one server; all are set up alike."""

    def __init__(self, new_server: Callable[[], grpc.aio.Server], count: int = 1) -> None:
        self._new_server = new_server
        self._servers = [new_server() for _ in range(count)]
        self._set_up: list[SetUp] = []
        self._looking: asyncio.Task[None] | None = None
        self._ended: dict[grpc.aio.Server, asyncio.Task[None]] = {}
        self._failures = FailureLog()

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[Any]) -> None:
        """As of a server."""
        self._do(lambda server: server.add_generic_rpc_handlers(generic_rpc_handlers))

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        """As of a server, but only for the methods whose calls wait in queues of their own."""
        own = with_own_queue(service_name, method_handlers)
        if own:
            self._do(lambda server: server.add_registered_method_handlers(service_name, own))  # type: ignore[attr-defined]

    def listen(self, address: str, add_port: AddPort) -> int:
        """Adds the port HOST:PORT by `add_port`, with credentials of its own each time; returns its number."""
        first, *others = self._servers
        port = add_port(first, address)

        def add_same_port(server: grpc.aio.Server) -> None:
            add_port(server, f"{address.rpartition(':')[0]}:{port}")

        self._set_up.append(add_same_port)
        for server in others:
            add_same_port(server)
        return port

    async def start(self) -> None:
        """As of a server."""
        for server in self._servers:
            await server.start()
        self._looking = asyncio.create_task(self._look())
        loop = asyncio.get_running_loop()
        others = loop.get_exception_handler()

        def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            # What ended the server; it would be logged each time that somebody does it.
            error = context.get("exception")
            if isinstance(error, UnicodeDecodeError):
                self._failures.failed("a request whose path is not UTF-8 ended the gRPC server", error)
            elif others is not None:
                others(loop, context)
            else:
                loop.default_exception_handler(context)

        loop.set_exception_handler(report)

    @property
    def is_serving(self) -> bool:
        """Whether all of them take requests now."""
        return all(map(_takes_requests, self._servers))

    async def stop(self, grace: float | None = None) -> None:
        """As of a server; stops those that requests have ended, too."""
        if self._looking is not None:
            self._looking.cancel()
        for ending in self._ended.values():
            ending.cancel()
        await asyncio.gather(*(server.stop(grace) for server in (*self._servers, *self._ended)))

    def _do(self, set_up: SetUp) -> None:
        self._set_up.append(set_up)
        for server in self._servers:
            set_up(server)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for place, server in enumerate(self._servers):
                if not _takes_requests(server):
                    await self._restart(place)

    async def _restart(self, place: int) -> None:
        old = self._servers[place]
        self._ended[old] = asyncio.create_task(self._end(old))
        while True:
            server = self._new_server()
            try:
                for set_up in self._set_up:
                    set_up(server)
                await server.start()
                break
            except Exception as error:
                self._failures.failed("gRPC cannot be served again and will be tried again", error)
                await asyncio.sleep(LOOK_SECONDS)
        self._servers[place] = server
        cause = RuntimeError("a request ended the gRPC server, as one does whose path is not UTF-8")
        self._failures.failed("gRPC server restarted", cause, traceback=False)

    async def _end(self, server: grpc.aio.Server) -> None:
        await server.stop(OLD_CALLS_SECONDS)
        del self._ended[server]


def _takes_requests(server: grpc.aio.Server) -> bool:
    """Whether the loop of a server runs; grpcio says so nowhere else."""
    return bool(server._server.is_running())  # type: ignore[attr-defined]
