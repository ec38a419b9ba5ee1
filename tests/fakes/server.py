"""Serves a fake channel over real HTTP from a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette


@contextmanager
def serving(app: Starlette, port: int = 0) -> Iterator[str]:
    """The address at which the app answers, such as http://127.0.0.1:40123, until the block ends."""
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=1))
    started = threading.Event()
    thread = threading.Thread(target=_serve, args=(server, listener, started), daemon=True)
    thread.start()
    if not started.wait(30):
        raise TimeoutError("a fake channel did not start within 30 s")
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def _serve(server: uvicorn.Server, listener: socket.socket, started: threading.Event) -> None:
    async def run() -> None:
        startup = server.startup

        async def startup_and_say_so(sockets: list[socket.socket] | None = None) -> None:
            await startup(sockets=sockets)
            started.set()

        server.startup = startup_and_say_so  # type: ignore[method-assign]
        await server.serve(sockets=[listener])

    asyncio.run(run())
