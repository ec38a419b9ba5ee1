"""What an event on a channel does to Truestock: plain values, which `truestock_api` sends.

Ids are texts everywhere: those of TikTok Shop are above 2^53. None of them has a field for a name, a street, a phone
number or a mail address.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from service.channels.copies import Original


class Fault(StrEnum):
    """Who caused a cancellation."""

    BUYER = "buyer"
    SELLER = "seller"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ItemUnits:
    """How many of one item of the channel; `line_id` is the order line that has them."""

    line_id: str
    item_id: str
    count: int

    def __post_init__(self) -> None:
        if not self.line_id or not self.item_id or self.count < 1:
            raise ValueError(f"{self} is not so many of an item")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an order goes, as precisely as no person is known by it."""

    country: str = ""
    region: str = ""
    postal_code: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """A sold order that may not be worked on yet."""

    reason: str
    until: datetime | None = None


class Left(StrEnum):
    """How much of an order has left for the shopper, as the channel says."""

    NOTHING = "nothing"
    A_PART = "a part"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class TakeOrder:
    """The whole contents of an order, as the channel has it at `update_time`."""

    order_id: str
    status: str
    """The channel's own word."""
    is_sold: bool
    """Paid, or as good as; otherwise its stock is only held."""
    lines: tuple[ItemUnits, ...]
    update_time: datetime
    outlet_id: str = ""
    ship_by_time: datetime | None = None
    hold: Hold | None = None
    hold_duration: timedelta | None = None
    """Of an order that is not sold: how long its stock is held; None means as long as the channel's setting says."""
    place: Place | None = None
    original: Original | None = None
    """Of a copy that another connector made: the order that it is of, whose contents and states count."""
    is_pickup: bool = False
    """The shopper collects it at the outlet."""
    placed_time: datetime | None = None
    left: Left = Left.NOTHING


@dataclass(frozen=True, slots=True)
class HandOver:
    """Everything of an order that was still to do has left its outlet: it was sent, or the shopper collected it."""

    order_id: str
    event_id: str
    time: datetime
    is_collected: bool


@dataclass(frozen=True, slots=True)
class CancelUnits:
    """Units that the channel has cancelled: `lines`, or the whole order if there are none."""

    order_id: str
    event_id: str
    lines: tuple[ItemUnits, ...]
    fault: Fault
    reason: str
    update_time: datetime


@dataclass(frozen=True, slots=True)
class RequestToCancel:
    """A shopper asks to cancel `lines`, or the whole order if there are none; or takes that back."""

    order_id: str
    event_id: str
    lines: tuple[ItemUnits, ...] = ()
    reason: str = ""
    deadline: datetime | None = None
    is_withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class TakeReturn:
    """Units that came back, or that were refunded and stay with the shopper."""

    order_id: str
    event_id: str
    lines: tuple[ItemUnits, ...]
    has_goods: bool
    time: datetime
    outlet_id: str = ""
    """Where they came back, if the channel says so; otherwise where the account says."""


@dataclass(frozen=True, slots=True)
class TillMovement:
    """Units that were sold at a till and taken along, or that were given back there."""

    order_id: str
    event_id: str
    outlet_id: str
    lines: tuple[ItemUnits, ...]
    time: datetime
    is_return: bool = False


@dataclass(frozen=True, slots=True)
class CountUnits:
    """How many of an item the channel says are at an outlet, and when it worked that out."""

    item_id: str
    outlet_id: str
    count: int
    time: datetime


Effect = TakeOrder | HandOver | CancelUnits | RequestToCancel | TakeReturn | TillMovement | CountUnits


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of one order, cancellation or return: what to do about it, or why nothing is done."""

    update_time: datetime
    effects: tuple[Effect, ...] = ()
    left_out: str = ""
    """Such as `fulfilled by the channel`; a fixed word, because it is a label of a metric."""
