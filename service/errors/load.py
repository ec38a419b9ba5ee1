"""Calls that the service cannot take now."""

from __future__ import annotations

from datetime import timedelta

import grpc

from service.errors.truestock_error import TruestockError


class Overloaded(TruestockError):
    """Too many requests are queued to answer this one in time; nothing was done."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"

    def __init__(self, queued_count: int, retry_after: timedelta, queued: str = "orders") -> None:
        """`queued` names what is in the queue, in the plural."""
        super().__init__(
            f"too many {queued} are queued to answer this one in time ({queued_count} queued); retry in a moment",
            metadata={"queued_count": str(queued_count)},
            retry_after=retry_after,
        )


class WatchLimitReached(TruestockError):
    """As many callers watch already as one service allows."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"

    def __init__(self, subject: str, watcher_count: int, retry_after: timedelta) -> None:
        """`subject` is what the callers watch, such as 'orders'."""
        super().__init__(
            f"watch limit reached ({watcher_count} of {watcher_count} for {subject}); share one watch, or retry later",
            metadata={"watcher_count": str(watcher_count)},
            retry_after=retry_after,
        )


class NotReady(TruestockError):
    """The service cannot answer at the moment."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "NOT_READY"

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}; try again in a moment", retry_after=timedelta(seconds=1))
