"""The share of orders that marketplaces let a seller cancel before they penalize it, and how much of that is left.

Data of each platform, from the day on which its rule is in force. A channel may state its headroom itself instead.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True, slots=True)
class CancellationLimit:
    """`share` of the orders of `window` may be cancelled by the seller's fault; in force in `market` from `since`."""

    platform: str
    since: date
    share: float
    window: timedelta
    market: str = "US"


CANCELLATION_LIMITS = (
    # Under 2.5 % of the orders of seven days, of those that the seller ships. Source: Amazon Seller Central, help page
    # 200285210, Cancellation Rate. In force long before this date, from which on nothing here is older.
    CancellationLimit("amazon", date(2020, 1, 1), 0.025, timedelta(days=7)),
    # At most 2.5 %; counts cancellations by the seller, and those by the platform because an order was not shipped.
    # Source: TikTok Shop Academy US, 7953001314830094, Seller-Fault Cancellation Rate. Other countries penalize from
    # higher rates on, over the same seven days.
    CancellationLimit("tiktok_shop", date(2023, 9, 12), 0.025, timedelta(days=7)),
    # Less than 2 % of 30 days; Canada allows 3 %. Source: Walmart Marketplace Learn, Seller Performance Standards.
    CancellationLimit("walmart", date(2023, 1, 1), 0.02, timedelta(days=30)),
    CancellationLimit("walmart", date(2023, 1, 1), 0.03, timedelta(days=30), market="CA"),
)
"""The limits of platforms by market, in any order; a newer one of a platform and market replaces the one before."""
_HOME = "US"


def limit_of(platform: str | None, today: date, markets: Collection[str] = ()) -> CancellationLimit | None:
    """The limit of a platform that is in force; None if it has none.

    Of several markets, such as `US` or `CA-QC`, the strictest; that of the platform's home where none of them is known.
    """
    in_force: dict[str, CancellationLimit] = {}
    for limit in sorted(CANCELLATION_LIMITS, key=lambda limit: limit.since):
        if limit.platform == platform and limit.since <= today:
            in_force[limit.market] = limit
    of_markets = [in_force[country] for market in markets if (country := market[:2]) in in_force]
    return min(of_markets, key=lambda limit: limit.share, default=in_force.get(_HOME))


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
