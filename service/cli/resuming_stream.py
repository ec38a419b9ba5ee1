"""A stream of changes from the service that never ends: after a break it reconnects and resumes by token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import grpc
from grpc import aio

from service.cli.client import CALL_SECONDS, Client, service_error
from service.cli.console import say

HEARTBEAT_SECONDS = 15
SILENCE_LIMIT_SECONDS = 3 * HEARTBEAT_SECONDS
"""A stream without any message for this long counts as broken."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0

_RECONNECT_CODES = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.CANCELLED,
)


async def messages(client: Client, start: Callable[[str], Any]) -> AsyncGenerator[Any, None]:
    """Yields the messages of the call that `start` makes with a resume token, which is empty at first.

    Once a message has arrived, it reconnects after every break, without limit. Raises ServiceError for other errors.
    """
    token, has_started, pause = "", False, FIRST_PAUSE_SECONDS
    while True:
        call = start(token)
        try:
            async for message in _received(call):
                token = message.resume_token or token
                has_started, pause = True, FIRST_PAUSE_SECONDS
                yield message
            problem = "the service ended it"
        except TimeoutError:
            problem = f"no message for {SILENCE_LIMIT_SECONDS} s"
        except aio.AioRpcError as error:
            readable_error = service_error(error, client.server, CALL_SECONDS)
            if not has_started or error.code() not in _RECONNECT_CODES:
                raise readable_error from error
            problem = str(readable_error).splitlines()[0]
        finally:
            call.cancel()
        if pause == FIRST_PAUSE_SECONDS:
            say(f"The watch was interrupted: {problem}. It reconnects and resumes where it stopped.")
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


async def _received(call: Any) -> AsyncIterator[Any]:
    """The messages of a call until it ends. Raises TimeoutError if not even heartbeats arrive."""
    stream = aiter(call)
    while True:
        # Not asyncio.wait_for(): in Python 3.11 it forgets a cancellation, which is Ctrl-C, at the moment of a message.
        async with asyncio.timeout(SILENCE_LIMIT_SECONDS):
            message = await anext(stream, None)
        if message is None:
            return
        yield message
