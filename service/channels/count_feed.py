"""The feed of a channel's counts: only where one is declared is it known whose figure is right, and are they taken."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from truestock.v1.catalog_service_pb2 import ListFeedsRequest

ASK_SECONDS = 30.0
"""How long an answer holds."""
LONGEST_SOURCE, SUFFIX = 64, "/counts"


def count_source(source: str) -> str:
    """The source of a channel's counts. That of its sales is another one, which no feed declares to be an observer."""
    return f"{source[: LONGEST_SOURCE - len(SUFFIX)]}{SUFFIX}"


class CountFeed:
    """Whether the feed `source` is declared. `list_feeds` answers a request, or raises Away."""

    def __init__(self, source: str, list_feeds: Callable[[ListFeedsRequest], Awaitable[Any]]) -> None:
        self.source = source
        self._list_feeds = list_feeds
        self._is_declared, self._asked = False, -ASK_SECONDS

    async def is_declared(self) -> bool:
        """Whether anybody has said what these counts mean. Raises Away."""
        if time.monotonic() > self._asked + ASK_SECONDS:
            self._is_declared = await self._ask()
            self._asked = time.monotonic()
        return self._is_declared

    async def _ask(self) -> bool:
        request = ListFeedsRequest(page_size=1_000)
        while True:
            response = await self._list_feeds(request)
            if any(feed.source == self.source for feed in response.feeds):
                return True
            request.page_token = response.next_page_token
            if not request.page_token:
                return False
