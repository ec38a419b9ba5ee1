"""What calls of all platforms have in common: bounded answers, no redirects, fresh tokens, and what is tried again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx2
import stamina

from service.channels.adapter import Tokens
from service.channels.effects import Reading
from service.channels.errors import AuthorizationLost, Away, ChannelError, NotYet, Unreadable

CALL_SECONDS = 15.0
LARGEST_ANSWER = 16 << 20
ATTEMPTS = 3
COUNT_WAIT = timedelta(seconds=5)
"""How old a count is when it is read."""

Answer = TypeVar("Answer")


class StaleToken(ChannelError):
    """The access token is not accepted; a new one may be."""


def new_http_client() -> httpx2.AsyncClient:
    """A client that follows no redirect: it would carry tokens to wherever an answer says."""
    return httpx2.AsyncClient(follow_redirects=False, timeout=CALL_SECONDS, trust_env=False)


async def sent(http: httpx2.AsyncClient, request: httpx2.Request, platform: str) -> tuple[httpx2.Response, bytes]:
    """An answer and its content. Raises Away where there is none or too many calls, Unreadable if it is too long."""
    try:
        response = await http.send(request, stream=True)
        try:
            content = await _bounded(response, platform)
        finally:
            await response.aclose()
    except httpx2.HTTPError as error:
        raise Away(f"{platform} does not answer {request.url.path}: {type(error).__name__}") from error
    if response.status_code == 429 or response.status_code >= 500:
        said = f"{platform} answers {request.url.path} with {response.status_code}"
        raise Away(said, retry_after_seconds=_seconds(response.headers.get("retry-after", "")))
    return response, content


def _seconds(pause: str) -> float:
    """The header Retry-After: seconds, or a date as HTTP writes it; 0 where it is neither."""
    if pause.isascii() and pause.replace(".", "", 1).isdigit():
        return float(pause)
    try:
        return max(0.0, (parsedate_to_datetime(pause) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0


async def with_retries(call: Callable[[], Awaitable[Answer]]) -> Answer:
    """Tries again where a platform is away for a moment, each time after a longer pause with jitter."""
    async for attempt in stamina.retry_context(on=_may_retry, attempts=ATTEMPTS, wait_initial=0.2, wait_max=2.0):
        with attempt:
            return await call()
    raise AssertionError("unreachable")


async def with_fresh_token(
    tokens: Tokens, platform: str, call: Callable[[Mapping[str, str]], Awaitable[Answer]]
) -> Answer:
    """The answer to a call with the stored tokens, or where they are stale with renewed ones.

    Raises AuthorizationLost if these are refused too.
    """
    current = await tokens.current()
    try:
        return await call(current)
    except StaleToken:
        renewed = await tokens.renewed(current)
    try:
        return await call(renewed)
    except StaleToken as error:
        raise AuthorizationLost(f"{platform} refuses new tokens too: {error}") from error


def settled_count(reading: Reading) -> Reading | NotYet:
    """A count once it is COUNT_WAIT old, so that the sales in it have been read; until then, when to ask again."""
    wait = (COUNT_WAIT - (datetime.now(UTC) - reading.update_time)).total_seconds()
    return NotYet("what was sold before the count is read first", retry_after_seconds=wait) if wait > 0 else reading


def _may_retry(error: Exception) -> bool:
    return isinstance(error, Away) and error.retry_after_seconds <= 1.0


async def _bounded(response: httpx2.Response, platform: str) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > LARGEST_ANSWER:
            raise Unreadable(f"{platform} answers with more than {LARGEST_ANSWER:,} bytes")
    return bytes(content)
