"""Better or worse than the period before."""

from __future__ import annotations

import pytest

from policies.reports.comparison import Verdict, compared
from policies.reports.rates import Figures


def rate(count: int, total: int) -> Figures:
    return Figures("oversell", count, total, 0, 0)


@pytest.mark.parametrize(
    ("now", "before", "verdict"),
    [
        (rate(40, 1_000), rate(80, 1_000), Verdict.BETTER),
        (rate(80, 1_000), rate(40, 1_000), Verdict.WORSE),
        (rate(2, 50), rate(1, 50), Verdict.SIMILAR),
        (rate(0, 1_000), rate(0, 10), Verdict.SIMILAR),
        (rate(0, 1_000), rate(9, 1_000), Verdict.BETTER),
        (rate(0, 1_000), rate(1, 1_000), Verdict.SIMILAR),
        (rate(0, 0), rate(1, 1_000), Verdict.UNKNOWN),
        (rate(1, 10), None, Verdict.UNKNOWN),
    ],
)
def test_a_rate_is_worse_only_if_chance_would_rarely_make_it_so(
    now: Figures, before: Figures | None, verdict: Verdict
) -> None:
    assert compared(now, before).verdict is verdict
