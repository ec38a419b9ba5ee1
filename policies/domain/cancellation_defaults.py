"""What a channel does with a shopper's request to cancel that nobody has answered by its deadline.

Data of each platform. A channel may state another answer of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from policies.domain.model import ACCEPT, DECLINE, Channel

PLATFORM_DEFAULTS: Mapping[str, str] = {
    # An order that staff have not cancelled goes on.
    "shopify": DECLINE,
    # Approved after 24 hours in the US and after 48 hours elsewhere, whether or not it has shipped by then. Source:
    # TikTok Shop Partner Center, return and refund overview.
    "tiktok_shop": ACCEPT,
    "square": DECLINE,
    # The message of a buyer who wants to cancel ends nothing.
    "amazon": DECLINE,
    "walmart": DECLINE,
}
"""The answer that a platform takes for granted at the deadline."""
OTHER_DEFAULT = DECLINE
"""That of a channel without a platform: nothing is cancelled that nobody has decided to cancel."""


def default_answer(channel: Channel) -> str:
    """The answer, ACCEPT or DECLINE, that a channel takes for granted at the deadline."""
    return channel.cancellation_default or PLATFORM_DEFAULTS.get(channel.platform or "", OTHER_DEFAULT)
