"""Messages about one order that contradict each other: what is done about them, and what its timeline says.

A cart that arrives after the sale, contents that are older than the stored ones, a sale of a cancelled order, an edit
whose time cannot be right. `order_intake` applies the messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from policies.decisions.cancellations import PendingCancellation, stands
from policies.decisions.promise import same_contents
from policies.domain.model import Channel, Commitment, Order, OrderFacts
from service import limits
from service.errors import InvalidFields, Violation
from service.exceptions.incidents import Incident
from service.orders.allocation_record import CONFIRMED, AllocationRecord
from service.orders.order_lines import as_kept
from service.orders.order_requests import UPDATE_TIME, OrderRequest

PAID_AFTER_CANCELLATION = "paid_after_cancellation"
IGNORED = "ignored"
"""The timeline event of a message that changes nothing because it is older than what is known."""


@dataclass(slots=True, unsafe_hash=True)
class KnownOrder:
    """What was known of an order before a message arrived; `contents` is None before its first contents."""

    contents: Final[Order | None]
    stated_time: Final[datetime | None]
    sold_time: Final[datetime | None]
    channel_status: Final[str | None]
    is_sold: Final[bool]
    is_cancelled: Final[bool]
    dates: Final[tuple[datetime | None, date | None]] = (None, None)
    """By when it should ship and be delivered."""

    @classmethod
    def of(cls, record: AllocationRecord, *, is_cancelled: bool) -> KnownOrder:
        """`is_cancelled` says whether the channel has cancelled the whole order."""
        return cls(
            record.order_as_stated() if record.lines else None,
            record.channel_update_time,
            record.sold_time,
            record.channel_status,
            record.commitment is Commitment.SOLD,
            is_cancelled or (bool(record.lines) and record.is_empty),
            (record.ship_by_time, record.deliver_by),
        )

    def has_other_contents(self, order: Order) -> bool:
        """Whether a message states other contents than the known ones."""
        return self.contents is not None and not same_contents(self.contents, order)

    def differs_from(self, record: AllocationRecord) -> bool:
        """Whether the channel's times or status of the order have changed since."""
        dates = (record.ship_by_time, record.deliver_by)
        times = (record.channel_update_time, record.sold_time, record.channel_status, dates)
        return (self.stated_time, self.sold_time, self.channel_status, self.dates) != times


def is_late_cart(request: OrderRequest, record: AllocationRecord) -> bool:
    """Whether a HOLD without a time is older than the sale of its order: an order is paid after it was a cart.

    A copy may have been paid before its original arrives, so an original of copies is none.
    """
    is_cart = request.order.commitment is Commitment.HOLD and request.update_time is None
    return is_cart and record.commitment is Commitment.SOLD and not record.copies


def check_edit(request: OrderRequest, known: KnownOrder, state: str) -> None:
    """Raises InvalidFields if a sold order would change by a message whose time cannot be right.

    A sale is taken without such a time; an edit without its place among the others could undo a newer one.
    """
    violation = request.unusable_time
    if violation and known.is_sold and state == CONFIRMED and known.has_other_contents(request.order):
        advice = "the order is sold already, so state when the channel changed it, or leave the time out"
        raise InvalidFields([Violation(UPDATE_TIME, f"{violation.description}; {advice}")])


def ignored_contents(request: OrderRequest, known: KnownOrder, record: AllocationRecord) -> str:
    """A sentence about contents that were ignored although they contradict the stored ones; empty if there are none.

    The same older message is reported once; `record` remembers its time.
    """
    if not known.has_other_contents(request.order):
        return ""
    if request.update_time is None:
        return "The channel sent other contents as an unpaid order, after it had been sold; they were ignored."
    if request.update_time == record.ignored_time:
        return ""
    record.ignored_time = request.update_time
    stored = f", older than those of {utc(record.channel_update_time)}" if record.channel_update_time else ""
    return f"The channel sent other contents of {utc(request.update_time)}{stored}; they were ignored."


def ignored_cancellation(cancellation: PendingCancellation, sold_time: datetime | None) -> str:
    """The sentence about a cancellation of the whole order that is older than its sale."""
    cancelled = utc(cancellation.cancel_time or cancellation.latest_time)
    return (
        f"The channel cancelled the order at {cancelled}, before it was sold at {utc(sold_time)}; nothing is cancelled."
    )


def included_cancellation(cancel_time: datetime, stated_time: datetime) -> str:
    """The sentence about a cancellation of lines that the stored contents include."""
    return (
        f"The channel cancelled units at {utc(cancel_time)}, which its contents of {utc(stated_time)} include; nothing "
        "more is cancelled."
    )


def is_news_of_payment(
    request: OrderRequest,
    known: KnownOrder,
    standing: Iterable[PendingCancellation],
    *,
    is_accepted: bool,
    is_original: bool,
) -> bool:
    """Whether a sale of a cancelled order is more than a duplicate of a sale that was known before.

    `standing` are its cancellations as a whole; an order that was sold before one of them has been updated before it.
    Only an original's times can be compared with the stored ones.
    """
    if not known.is_sold:
        return True
    time = request.update_time if is_original else None
    if not is_accepted or (time and any(x.cancel_time and time <= x.cancel_time for x in standing)):
        return False
    is_newer = time is not None and (known.stated_time is None or time > known.stated_time)
    return is_newer or known.has_other_contents(request.order)


def paid_after_cancellation(record: AllocationRecord, channel: Channel) -> Incident:
    """An exception for a sale that does not undo the cancellation of its order."""
    name, order = f"{record.channel_id}/{record.order_id}", record.order_as_stated()
    sentence = (
        f"Order {name} was reported as paid after it had been cancelled, and the channel's times do not show that the "
        "sale is the newer of the two, so it stays cancelled. Refund the payment, or state the order as SOLD with a "
        "channel_update_time after its cancellation."
    )
    return Incident(
        PAID_AFTER_CANCELLATION,
        name,
        sentence,
        channel,
        channel_id=record.channel_id,
        allocation_id=record.id,
        order=OrderFacts.of(order),
        destination=order.destination,
    )


def advice_after_cancellation(cancellations: Iterable[PendingCancellation], sold_time: datetime | None) -> str:
    """What a caller can do with an order of which all units are cancelled, by these stored cancellations."""
    standing = [x.latest_time for x in cancellations if x.is_whole and stands(x, sold_time)]
    times = [time for time in standing if time is not None]
    if not times:
        return "its units were cancelled one by one, so send a new sale under another order_id"
    # Sentences show whole seconds.
    after = max(times).replace(microsecond=0) + timedelta(seconds=1)
    return (
        "it was cancelled: if it was paid after that, send it with AllocateOrder as SOLD and a channel_update_time "
        f"after {utc(after)}"
    )


def left_out(violations: Sequence[Violation]) -> str:
    """The sentence about values of a sold order that cannot be used."""
    # Violations repeat the values, which may be of any length and have characters that no table can store.
    shown = "; ".join(f"{x.field}: {as_kept(x.description, limits.VALUE_SHOWN)}" for x in violations[:3])
    more = f"; and {len(violations) - 3} more" if len(violations) > 3 else ""
    return f"The order was taken without values that cannot be used: {shown}{more}."


def utc(time: datetime | None) -> str:
    """A time as sentences show it."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time else "an unknown time"
