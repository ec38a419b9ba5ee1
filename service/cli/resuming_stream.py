"""A watch as a client sees it: messages for ever, resumed by token where the connection or the service breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import grpc
from grpc import aio

from service.cli.client import CALL_SECONDS, Client, service_error
from service.cli.console import say

HEARTBEAT_SECONDS = 15
SILENCE_SECONDS = 3 * HEARTBEAT_SECONDS
"""Who is silent for so long has gone without saying so."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0

_COME_BACK = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.CANCELLED,
)


async def messages(client: Client, start: Callable[[str], Any]) -> AsyncGenerator[Any, None]:
    """The messages of the call that `start` makes of a token, empty at first.

    Once there was a message, a break is waited out for as long as it takes. Raises ServiceError for anything else.
    """
    token, began, pause = "", False, FIRST_PAUSE_SECONDS
    while True:
        call = start(token)
        try:
            async for message in _heard(call):
                token = message.resume_token or token
                began, pause = True, FIRST_PAUSE_SECONDS
                yield message
            problem = "the service ended it"
        except TimeoutError:
            problem = f"nothing was heard for {SILENCE_SECONDS} s"
        except aio.AioRpcError as error:
            told = service_error(error, client.server, CALL_SECONDS)
            if not began or error.code() not in _COME_BACK:
                raise told from error
            problem = str(told).splitlines()[0]
        finally:
            call.cancel()
        if pause == FIRST_PAUSE_SECONDS:
            say(f"The watch broke off: {problem}. It goes on from there as soon as that is possible.")
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


async def _heard(call: Any) -> AsyncIterator[Any]:
    """The messages of a call until it ends. Raises TimeoutError where even heartbeats fail to come."""
    coming = aiter(call)
    while (message := await asyncio.wait_for(anext(coming, None), SILENCE_SECONDS)) is not None:
        yield message
