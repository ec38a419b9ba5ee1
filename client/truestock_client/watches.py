"""What a watch remembers over its interruptions: where to resume, and how long to wait."""

from __future__ import annotations

import logging
from typing import Any

import grpc

from truestock_client.errors import CallError, Details, Unavailable
from truestock_client.retries import Attempts, Pauses

_log = logging.getLogger("truestock_client")
_INTERRUPTIONS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
"""How gRPC reports connections that break, beside those of Unavailable."""


class Resumption:
    """One watch: `request` starts it, or resumes it after the last message."""

    def __init__(self, request: Any, seconds: float) -> None:
        """Until the first message, the watch has this many seconds, as a call has; later it is resumed without end."""
        self.request = type(request)()
        self.request.CopyFrom(request)
        self._first = Attempts(seconds)
        self._pauses = Pauses()
        self._started = False

    def received(self, message: Any) -> None:
        """Remembers where to resume after this message has been handled."""
        self.request.resume_token = message.resume_token or self.request.resume_token
        self._started, self._pauses = True, Pauses()

    def pause_after(self, error: CallError) -> float:
        """Seconds to wait before resuming. Raises the error if resuming cannot help."""
        pause: float | None
        if self._started and (isinstance(error, Unavailable) or error.code() in _INTERRUPTIONS):
            pause = self._pauses.after(error)
        else:
            pause = self._first.pause_after(error)
        if pause is None:
            raise error
        _log.warning("watch interrupted, resumes in %.1f s: %s", pause, error)
        return pause


def ended() -> CallError:
    """The service ended the watch, as it does when it stops."""
    return Unavailable(grpc.StatusCode.UNAVAILABLE, "the service ended the watch", Details())
