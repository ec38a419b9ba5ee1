"""How much each principal asks: calls a second and calls in progress, against what its access allows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from service.auth.principals import Principal
from service.errors import TooManyCalls

RETRY_IN_PROGRESS = timedelta(seconds=1)
"""When a principal with too many calls in progress should try again: how long they take is not known."""


@dataclass(slots=True)
class _Usage:
    """What one principal may still call at `moment` (seconds of a clock), and its calls in progress."""

    allowance: float
    moment: float
    in_progress: int = 0


class Usage:
    """Counts the calls of principals that have limits, in this service."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_name: dict[str, _Usage] = {}

    def begin(self, principal: Principal) -> None:
        """Counts a call that begins; `end` must follow. Raises TooManyCalls, which begins none.

        The rate is a token bucket that holds one second of calls: whoever was quiet may send these at once.
        """
        usage = self._of(principal)
        if principal.calls_in_progress is not None and usage.in_progress >= principal.calls_in_progress:
            raise TooManyCalls(principal.name, f"{principal.calls_in_progress} calls in progress", RETRY_IN_PROGRESS)
        if principal.calls_per_second is not None:
            self._take(principal, usage, principal.calls_per_second)
        usage.in_progress += 1

    def end(self, principal: Principal) -> None:
        """Counts a call that has ended."""
        self._of(principal).in_progress -= 1

    def _take(self, principal: Principal, usage: _Usage, rate: int) -> None:
        now = self._clock()
        usage.allowance = min(float(rate), usage.allowance + (now - usage.moment) * rate)
        usage.moment = now
        if usage.allowance < 1:
            wait = timedelta(seconds=(1 - usage.allowance) / rate)
            raise TooManyCalls(principal.name, f"{rate} calls a second", wait)
        usage.allowance -= 1

    def _of(self, principal: Principal) -> _Usage:
        usage = self._by_name.get(principal.name)
        if usage is None:
            usage = self._by_name[principal.name] = _Usage(float(principal.calls_per_second or 0), self._clock())
        return usage
