"""Order statuses of each platform, mapped to one list of statuses for all channels, and what each of these does.

The statuses are those of the platforms' own documentation. They say where an order stands at its channel; which units
left from where is only in reports of shipments and returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from policies.domain.model import Commitment

PAYMENT_IS_DUE = "payment is due"
"""The reason of a hold that ends when the order is paid; every other hold ends when the order is to be fulfilled."""
ORIGINAL_IS_DUE = "original is due"
"""The reason of the hold of a copy whose original has not come; it ends when the original arrives."""
REMORSE_PERIOD = "remorse period"
REMORSE_DURATION = timedelta(hours=1)
"""How long a TikTok shopper may cancel freely. Source: TikTok Shop Partner Center, order API overview."""
REMORSE_MARGIN = timedelta(minutes=30)
"""How late the news that it ended may be: a webhook that failed is sent again after 2 and after 30 minutes."""


class ChannelStatus(StrEnum):
    """Status of an order at its channel; `MEANINGS` says what each one does."""

    PLACED = "placed"
    PAYMENT_DUE = "payment_due"
    PAID = "paid"
    REMORSE = "remorse"
    HELD = "held"
    OPEN = "open"
    READY = "ready"
    IN_WORK = "in_work"
    PARTLY_SHIPPED = "partly_shipped"
    LABELLED = "labelled"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CLOSED = "closed"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"
    EXCEPTION = "exception"
    NOTED = "noted"


class HoldEffect(StrEnum):
    """What a status does to the hold of an order."""

    KEEP = "keep"
    PLACE = "place"
    END_PAYMENT_HOLD = "end_payment_hold"
    END_OTHER_HOLD = "end_other_hold"
    END = "end"


@dataclass(frozen=True, slots=True)
class StatusMeaning:
    """What a status does to its order, and `summary`, the same in words.

    `commitment` replaces that of the request; None leaves it. A status that places a hold has its reason and, where the
    platform limits it, its duration. `cancels` cancels for good what has not shipped. `is_failure` needs a person.
    `comes_first`: the platform never goes back to this status, so it does not undo a later one.
    """

    summary: str
    commitment: Commitment | None = None
    hold: HoldEffect = HoldEffect.KEEP
    hold_reason: str = ""
    hold_duration: timedelta | None = None
    cancels: bool = False
    is_failure: bool = False
    comes_first: bool = False


_S, _SOLD = ChannelStatus, Commitment.SOLD
_NO_STOCK_EFFECT = "Moves no stock: which units shipped from where is in ShipShipment and DeliverShipment."
MEANINGS: Mapping[ChannelStatus, StatusMeaning] = {
    _S.PLACED: StatusMeaning("Not paid: a HOLD, for as long as the channel lets the order be paid.", Commitment.HOLD),
    _S.PAYMENT_DUE: StatusMeaning(
        "The payment is incomplete or has failed: a sold order goes on hold until it is paid.",
        hold=HoldEffect.PLACE,
        hold_reason=PAYMENT_IS_DUE,
    ),
    _S.PAID: StatusMeaning("Paid: sold. Ends a hold for payment.", _SOLD, HoldEffect.END_PAYMENT_HOLD),
    _S.REMORSE: StatusMeaning(
        "Paid, and the shopper may still cancel: sold and on hold.",
        _SOLD,
        HoldEffect.PLACE,
        REMORSE_PERIOD,
        REMORSE_DURATION + REMORSE_MARGIN,
        comes_first=True,
    ),
    _S.HELD: StatusMeaning(
        "The channel forbids work on it for now: on hold.", hold=HoldEffect.PLACE, hold_reason="held by the channel"
    ),
    _S.OPEN: StatusMeaning(
        "To be fulfilled; `commitment` says whether it is paid. Ends every hold but one for payment.",
        hold=HoldEffect.END_OTHER_HOLD,
    ),
    _S.READY: StatusMeaning("Paid and to be fulfilled: sold. Ends a hold.", _SOLD, HoldEffect.END),
    _S.IN_WORK: StatusMeaning("Work on it has begun: sold. Ends a hold.", _SOLD, HoldEffect.END),
    _S.PARTLY_SHIPPED: StatusMeaning(f"Partly shipped: sold. Ends a hold. {_NO_STOCK_EFFECT}", _SOLD, HoldEffect.END),
    _S.LABELLED: StatusMeaning(f"Ready for the carrier: sold. Ends a hold. {_NO_STOCK_EFFECT}", _SOLD, HoldEffect.END),
    _S.SHIPPED: StatusMeaning(f"Shipped: sold. Ends a hold. {_NO_STOCK_EFFECT}", _SOLD, HoldEffect.END),
    _S.DELIVERED: StatusMeaning(f"Delivered: sold. Ends a hold. {_NO_STOCK_EFFECT}", _SOLD, HoldEffect.END),
    _S.CLOSED: StatusMeaning(f"Completed: sold. Ends a hold. {_NO_STOCK_EFFECT}", _SOLD, HoldEffect.END),
    _S.CANCELLED: StatusMeaning("Cancels for good what has not shipped.", cancels=True),
    _S.REFUNDED: StatusMeaning(
        "All money was paid back: cancels for good what has not shipped. Shipped units come back with RecordReturn.",
        cancels=True,
    ),
    _S.EXCEPTION: StatusMeaning("The channel reports a failure: a `sync_failed` exception.", is_failure=True),
    _S.NOTED: StatusMeaning(
        "Stored and shown. Does nothing: the order's own status follows if anything about it changes."
    ),
}
"""What each status does to an order; a summary says why where it does nothing."""

_PLATFORM_STATUSES: Mapping[str, Mapping[ChannelStatus, tuple[str, ...]]] = {
    # Shopify has no single status: these are statuses of payments, of orders for display, of fulfillment orders and
    # their requests, and of parcels. Only those of payments say whether the order is paid.
    "shopify": {
        _S.PLACED: ("pending",),
        # A payment below the value of the order, and one that was authorized and not captured in time.
        _S.PAYMENT_DUE: ("partially_paid", "expired"),
        # What a partial refund is for is in the lines of the order, which the channel sends as well.
        _S.PAID: ("paid", "authorized", "partially_refunded"),
        _S.HELD: ("ON_HOLD", "SCHEDULED"),
        _S.OPEN: ("OPEN", "unfulfilled"),
        _S.IN_WORK: ("IN_PROGRESS", "PENDING_FULFILLMENT", "SUBMITTED", "ACCEPTED", "ready_for_pickup"),
        _S.PARTLY_SHIPPED: ("partial", "PARTIALLY_FULFILLED"),
        _S.LABELLED: ("label_purchased", "label_printed", "confirmed"),
        _S.SHIPPED: (
            *("CLOSED", "fulfilled", "marked_as_fulfilled", "success", "carrier_picked_up", "in_transit"),
            *("out_for_delivery", "attempted_delivery", "delayed"),
        ),
        _S.DELIVERED: ("delivered", "picked_up"),
        # `voided`: an order was cancelled before its payment was captured. `restocked`: an order was cancelled and all
        # its items were put back.
        _S.CANCELLED: ("CANCELLED", "voided", "restocked"),
        _S.REFUNDED: ("refunded",),
        _S.EXCEPTION: ("INCOMPLETE", "REJECTED", "REQUEST_DECLINED", "failure", "error", "not_delivered"),
        # Requests between merchant and fulfillment service; the status of the order follows if they change anything.
        _S.NOTED: (
            *("UNSUBMITTED", "CANCELLATION_REQUESTED", "CANCELLATION_ACCEPTED", "CANCELLATION_REJECTED"),
            *("FULFILLMENT_NOT_REQUIRED", "label_voided"),
        ),
    },
    # TikTok Shop writes CANCEL in its webhooks and CANCELLED in its API.
    "tiktok_shop": {
        _S.PLACED: ("UNPAID",),
        _S.REMORSE: ("ON_HOLD",),
        _S.READY: ("AWAITING_SHIPMENT",),
        _S.PARTLY_SHIPPED: ("PARTIALLY_SHIPPING",),
        _S.LABELLED: ("AWAITING_COLLECTION",),
        _S.SHIPPED: ("IN_TRANSIT",),
        _S.DELIVERED: ("DELIVERED",),
        _S.CLOSED: ("COMPLETED",),
        _S.CANCELLED: ("CANCEL", "CANCELLED"),
    },
    # A draft cannot be paid. PROPOSED waits for the seller to accept it, RESERVED was accepted. Neither they nor OPEN
    # tell whether the order is paid; its commitment does.
    "square": {
        _S.PLACED: ("DRAFT",),
        _S.OPEN: ("OPEN", "PROPOSED"),
        _S.IN_WORK: ("RESERVED", "PREPARED"),
        _S.CLOSED: ("COMPLETED",),
        _S.CANCELLED: ("CANCELED",),
        _S.EXCEPTION: ("FAILED",),
    },
    "amazon": {
        _S.PLACED: ("Pending", "PendingAvailability"),
        _S.READY: ("Unshipped",),
        _S.PARTLY_SHIPPED: ("PartiallyShipped",),
        # InvoiceUnconfirmed: everything has shipped, and the buyer's invoice is missing.
        _S.SHIPPED: ("Shipped", "InvoiceUnconfirmed"),
        _S.CANCELLED: ("Canceled", "Cancelled"),
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


def platform_statuses() -> list[tuple[str, str, ChannelStatus]]:
    """Every known status as (platform, the platform's word, channel status)."""
    return [
        (platform, name, status)
        for platform, statuses in _PLATFORM_STATUSES.items()
        for status, names in statuses.items()
        for name in names
    ]
