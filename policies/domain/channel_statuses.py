"""Order statuses of each platform, mapped to one list of statuses for all channels."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ChannelStatus(StrEnum):
    """Status of an order at its channel.

    PLACED is not paid yet, HELD is held by the channel (remorse period, fraud check), LABELLED has a label and no scan,
    and EXCEPTION needs a person's attention.
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
    # Shopify has no single status: these are statuses of payments, of fulfillment orders and requests, and of parcels.
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
    # OPEN does not tell whether the order is paid; its commitment does.
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
"""Platforms whose statuses are known."""


def _normalized(status: str) -> str:
    """A status without the differences between an API and its webhooks: case, spaces and underscores."""
    return "".join(letter for letter in status.casefold() if letter.isalnum())


_STATUS_BY_NAME = {
    platform: {_normalized(name): status for status, names in statuses.items() for name in names}
    for platform, statuses in _PLATFORM_STATUSES.items()
}


def channel_status(platform: str, status: str) -> ChannelStatus | None:
    """The channel status of a platform's status; None if it is unknown. Raises KeyError for an unknown platform."""
    return _STATUS_BY_NAME[platform].get(_normalized(status))
