"""What the words of each platform for where an order stands mean, in one model for all of them. Data, and a look-up."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ChannelStatus(StrEnum):
    """Where an order stands at its channel.

    PLACED is not payable yet, HELD is held back by the channel (remorse, fraud), LABELLED has a label and no scan, and
    EXCEPTION wants somebody's attention.
    """

    PLACED = "placed"
    HELD = "held"
    READY = "ready"
    IN_WORK = "in_work"
    PARTLY_SHIPPED = "partly_shipped"
    LABELLED = "labelled"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CLOSED = "closed"
    CANCELLED = "cancelled"
    EXCEPTION = "exception"


_S = ChannelStatus
_PLATFORM_STATUSES: Mapping[str, Mapping[ChannelStatus, tuple[str, ...]]] = {
    # Shopify has no one status: these are the words of payments, of fulfilment orders and requests, and of parcels.
    "shopify": {
        _S.PLACED: ("pending",),
        _S.HELD: ("ON_HOLD", "SCHEDULED"),
        _S.READY: ("paid", "authorized", "OPEN", "UNSUBMITTED", "unfulfilled"),
        _S.IN_WORK: ("IN_PROGRESS", "SUBMITTED", "ACCEPTED"),
        _S.PARTLY_SHIPPED: ("partial", "PARTIALLY_FULFILLED"),
        _S.LABELLED: ("label_purchased", "label_printed", "confirmed"),
        _S.SHIPPED: ("CLOSED", "fulfilled", "in_transit", "out_for_delivery"),
        _S.DELIVERED: ("delivered",),
        _S.CANCELLED: ("CANCELLED",),
        _S.EXCEPTION: ("INCOMPLETE", "REJECTED"),
    },
    # TikTok Shop writes CANCEL in its webhooks and CANCELLED in its API.
    "tiktok_shop": {
        _S.PLACED: ("UNPAID",),
        _S.HELD: ("ON_HOLD",),
        _S.READY: ("AWAITING_SHIPMENT",),
        _S.PARTLY_SHIPPED: ("PARTIALLY_SHIPPING",),
        _S.LABELLED: ("AWAITING_COLLECTION",),
        _S.SHIPPED: ("IN_TRANSIT",),
        _S.DELIVERED: ("DELIVERED",),
        _S.CLOSED: ("COMPLETED",),
        _S.CANCELLED: ("CANCEL", "CANCELLED"),
    },
    # Whether an OPEN order is paid is not in the word; the commitment says it.
    "square": {
        _S.PLACED: ("DRAFT", "PROPOSED"),
        _S.HELD: ("RESERVED",),
        _S.READY: ("OPEN",),
        _S.IN_WORK: ("PREPARED",),
        _S.CLOSED: ("COMPLETED",),
        _S.CANCELLED: ("CANCELED",),
        _S.EXCEPTION: ("FAILED",),
    },
    "amazon": {
        _S.PLACED: ("Pending", "PendingAvailability"),
        _S.READY: ("Unshipped",),
        _S.PARTLY_SHIPPED: ("PartiallyShipped",),
        _S.SHIPPED: ("Shipped",),
        _S.CANCELLED: ("Canceled",),
        _S.EXCEPTION: ("Unfulfillable",),
    },
    "walmart": {
        _S.READY: ("Created",),
        _S.IN_WORK: ("Acknowledged",),
        _S.SHIPPED: ("Shipped",),
        _S.DELIVERED: ("Delivered",),
        _S.CANCELLED: ("Cancelled", "Canceled"),
    },
}
PLATFORMS = tuple(_PLATFORM_STATUSES)
"""The platforms whose words are known."""


def _normalized(word: str) -> str:
    """A word without what differs between an API and its webhooks: case, spaces and underscores."""
    return "".join(letter for letter in word.casefold() if letter.isalnum())


_STATUS_BY_NAME = {
    platform: {_normalized(word): status for status, words in statuses.items() for word in words}
    for platform, statuses in _PLATFORM_STATUSES.items()
}


def channel_status(platform: str, word: str) -> ChannelStatus | None:
    """What a platform's word says; None where it is not known. Raises KeyError for a platform that is not known."""
    return _STATUS_BY_NAME[platform].get(_normalized(word))
