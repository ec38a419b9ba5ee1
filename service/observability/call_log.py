"""One line in the log for each call, as many a second as the settings allow; slow calls and failures have their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog

from service.observability.call_ids import call_ids
from service.observability.calls import Call

log = structlog.get_logger(__name__)

FAILURES = frozenset({"INTERNAL", "UNAVAILABLE", "UNKNOWN", "DATA_LOSS"})
"""Codes of calls that failed because of the service, not of what the caller sent."""


class LineBudget:
    """Lines that may be written now: `per_second` more each second, at most those of one second at once."""

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._lines = self._most = max(1.0, per_second)
        self._time = clock()

    def take(self) -> bool:
        """Whether one line may be written; it then counts."""
        now = self._clock()
        self._lines = min(self._most, self._lines + (now - self._time) * self._per_second)
        self._time = now
        if self._lines < 1:
            return False
        self._lines -= 1
        return True


class CallLog:
    """Writes a line when a call ends: method, code, time and ids, and for a slow call the part that took longest.

    At most `per_second` lines a second are about ordinary calls, and as many about slow and failed ones, so that a
    flood of the former hides none of the latter. A line says how many calls of its kind had none since the last one.
    Of what a caller sent, a line has the request id, and only if it is a UUID.
    """

    def __init__(self, per_second: float, slow_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._is_on = per_second > 0
        self._slow_seconds = slow_seconds
        self._ordinary, self._notable = LineBudget(per_second, clock), LineBudget(per_second, clock)
        self._unlogged = {False: 0, True: 0}
        """Calls without a line, ordinary and notable."""

    def ended(
        self, method: str, code: str, seconds: float, call: Call, messages: tuple[Any, Any], *, may_be_slow: bool = True
    ) -> None:
        """Logs a call that has ended. `messages` are its request and its response, None where there is none."""
        if not self._is_on:
            return
        is_slow = may_be_slow and seconds >= self._slow_seconds
        is_notable = is_slow or code in FAILURES
        if not (self._notable if is_notable else self._ordinary).take():
            self._unlogged[is_notable] += 1
            return
        values: dict[str, object] = {"method": method, "code": code, "milliseconds": round(seconds * 1000, 1)}
        values |= call_ids(*messages)
        if call.trace is not None:
            values["trace_id"] = call.trace.trace_id
        if self._unlogged[is_notable]:
            values["calls_without_line"], self._unlogged[is_notable] = self._unlogged[is_notable], 0
        if is_slow:
            log.warning("slow call", **values, **_slow_parts(call, seconds))
        elif is_notable:
            log.warning("call failed", **values)
        else:
            log.info("call", **values)


def _slow_parts(call: Call, seconds: float) -> dict[str, object]:
    """The part that took longest, and the milliseconds of each part."""
    parts = call.parts()
    parts["other"] = max(0.0, seconds - sum(parts.values()))
    slowest = max(parts, key=lambda part: parts[part])
    return {"slow_part": slowest, **{f"{part}_milliseconds": round(value * 1000, 1) for part, value in parts.items()}}
