"""What may be wrong with a channel's API: slow, throttled, old figures, lost answers, outages."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Conditions:
    """Switches of one channel; a test sets them at any time. Seconds are of the real clock unless stated."""

    read_age_seconds: float = 0.0
    """How old the figures and records are that calls read, of the channel's time."""
    write_lag_seconds: float = 0.0
    """How long after its answer a write takes effect, of the channel's time."""
    answer_delay_seconds: float = 0.0
    calls_per_second: float | None = None
    """Calls above this rate are throttled; None: none are."""
    retry_after_seconds: int | None = 1
    """What a throttled call is told to wait; None: it is not told."""
    delays: dict[str, float] = field(default_factory=dict)
    """So much later some calls are answered, by method and path. TikTok Shop's alone."""
    crashes_on: set[str] = field(default_factory=set)
    """Every call that names one of these in its query or body fails. TikTok Shop's alone."""
    lost_answers: int = 0
    """So many calls are carried out, and then the caller gets no answer but that of a gateway."""
    outage: bool = False
    """Every call fails."""
    failures: deque[tuple[int, int, str]] = field(default_factory=deque)
    """The next calls fail with these statuses, codes and messages; a status of 200 has the error in its body."""
    calls: Counter[str] = field(default_factory=Counter)
    """Calls by method and path, refused ones too."""
    throttled: int = 0
    _tokens: float = 0.0
    _refilled: float = 0.0

    def may_call(self) -> bool:
        """Takes a call from the bucket, which holds those of one second; False where it is empty."""
        if self.calls_per_second is None:
            return True
        now = time.monotonic()
        most = max(1.0, self.calls_per_second)
        refill = (now - self._refilled) * self.calls_per_second if self._refilled else most
        self._tokens, self._refilled = min(most, self._tokens + refill), now
        if self._tokens < 1:
            self.throttled += 1
            return False
        self._tokens -= 1
        return True
