"""The share of orders that marketplaces let a seller cancel before they penalize it, and how much of that is left.

Data of each platform, from the day on which its rule is in force. A channel may state its headroom itself instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True, slots=True)
class CancellationLimit:
    """`share` of the orders of `window` may be cancelled by the fault of the seller; in force from `since`."""

    platform: str
    since: date
    share: float
    window: timedelta


CANCELLATION_LIMITS = (
    # Under 2.5 % of the orders of seven days, of those that the seller ships. Source: Amazon Seller Central, help page
    # 200285210, Cancellation Rate. In force long before this date, from which on nothing here is older.
    CancellationLimit("amazon", date(2020, 1, 1), 0.025, timedelta(days=7)),
    # At most 2.5 %; counts cancellations by the seller, and those by the platform because an order was not shipped.
    # Source: TikTok Shop Academy US, 7953001314830094, Seller-Fault Cancellation Rate. Other countries penalize from
    # higher rates on, over the same seven days.
    CancellationLimit("tiktok_shop", date(2023, 9, 12), 0.025, timedelta(days=7)),
    # Less than 2 % of 30 days. Source: Walmart Marketplace Learn, Seller Performance Standards. Canada allows 3 %.
    CancellationLimit("walmart", date(2023, 1, 1), 0.02, timedelta(days=30)),
)
"""The limits of the platforms' home markets, in any order; a newer one of a platform replaces the one before."""


def limit_of(platform: str | None, today: date) -> CancellationLimit | None:
    """The limit of a platform that is in force; None if it has none."""
    in_force = [limit for limit in CANCELLATION_LIMITS if limit.platform == platform and limit.since <= today]
    return max(in_force, key=lambda limit: limit.since, default=None)


def headroom(limit: CancellationLimit, *, sold: int, cancelled: int) -> float | None:
    """The share, 0 to 1 in hundredths, of the allowed cancellations that is unused.

    `sold` are the orders of the limit's window, and `cancelled` those cancelled in it by the fault of the seller. None
    while these are too few to allow a single cancellation: then a rate says nothing.
    """
    allowed = limit.share * sold
    if allowed < 1:
        return None
    # Rounded down: what is left never seems to be more than it is. A difference of 1e-9 is no hundredth.
    return max(0, math.floor((1 - cancelled / allowed) * 100 + 1e-9)) / 100
