"""The contents of an order after a request: those of the request or the stored ones, and what is cancelled of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from policies.decisions.cancellations import (
    NO_PRIOR_CANCELLATIONS,
    PERMANENT,
    CancellationCause,
    CancelledUnits,
    PriorCancellations,
    applies_to,
    cancelled_units,
    stands,
    units_of_lines,
)
from policies.decisions.promise import same_contents
from policies.domain.model import Commitment, Order
from service.allocation.intake.contradictions import KnownOrder
from service.orders.allocation_record import CONFIRMED, AllocationRecord
from service.orders.cancellations.pending_cancellations import CancellationRow
from service.orders.order_requests import OrderRequest


@dataclass(slots=True, unsafe_hash=True)
class OrderUpdate:
    """What a request makes of an order.

    `order` are the contents and the commitment afterwards, `known` what was known before. The contents are those of the
    request if it `is_accepted`; it `is_reinstated` if a newer sale ends its cancellation.
    """

    request: Final[OrderRequest]
    order: Final[Order]
    known: Final[KnownOrder]
    is_accepted: Final[bool]
    is_reinstated: Final[bool]


def with_kept_destination(request: OrderRequest, record: AllocationRecord) -> OrderRequest:
    """The request as the order knows its destination, if it repeats a sold order whose personal data were dropped.

    Channels send orders again at any time. An order that nothing else has changed of gets no data again.
    """
    stated, kept = request.order.destination, record.destination
    is_dropped = record.was_dropped and not record.holds_personal_data
    if not is_dropped or record.state != CONFIRMED or not record.lines or stated is None:
        return request
    known = (None, None) if kept is None else (kept.country, kept.region)
    order = replace(request.order, destination=kept)
    if (stated.country, stated.region) != known or not same_contents(record.order_as_stated(), order):
        return request
    return replace(request, order=order)


def is_older(time: datetime | None, stored: datetime | None) -> bool:
    """Whether a message is older than what is stored; unknown times are not."""
    return time is not None and stored is not None and time < stored


def unshipped(record: AllocationRecord, line_id: str) -> int:
    """Units of one line that are neither cancelled nor shipped."""
    return record.line(line_id).uncancelled - record.shipped_of_line(line_id)


def resulting_order(request: OrderRequest, record: AllocationRecord, *, is_accepted: bool, sold: bool) -> Order:
    """The order after this request, as its channel states it, under the original's key."""
    commitment = Commitment.SOLD if sold else request.order.commitment
    if is_accepted or not record.lines:
        order = request.order
        as_requested = (*request.key, order.commitment, order.ship_by_time, order.deliver_by)
        stored = (record.channel_id, record.order_id, commitment, record.ship_by_time, record.deliver_by)
        if stored == as_requested:
            return order
        channel_id, order_id, _, ship_by_time, deliver_by = stored
        return replace(
            order,
            channel_id=channel_id,
            order_id=order_id,
            commitment=commitment,
            ship_by_time=ship_by_time,
            deliver_by=deliver_by,
        )
    return replace(record.order_as_stated(), commitment=Commitment.SOLD if sold else record.commitment)


def standing(rows: Iterable[CancellationRow], record: AllocationRecord) -> list[CancellationRow]:
    """The cancellations of the whole order that no newer sale has ended."""
    return [x for x in rows if x.cancellation.is_whole and stands(x.cancellation, record.sold_time)]


def _prior_cancellations(
    record: AllocationRecord,
    order: Order,
    rows: Sequence[CancellationRow],
    stated_time: datetime | None,
    *,
    is_accepted: bool,
) -> PriorCancellations:
    """Units that stay cancelled when the channel repeats the same contents; a cart that is sent again has none."""
    units = {line.line_id: line.cancelled for line in record.lines if line.cancelled}
    if not units:
        return NO_PRIOR_CANCELLATIONS
    stay_cancelled = not is_accepted or record.commitment is Commitment.SOLD or bool(rows)
    return (
        PriorCancellations(units, stated_time)
        if stay_cancelled and same_contents(record.order_as_stated(), order)
        else NO_PRIOR_CANCELLATIONS
    )


def cancelled_units_of(
    update: OrderUpdate, record: AllocationRecord, rows: Sequence[CancellationRow]
) -> dict[str, int]:
    """The units to cancel by line; a newer sale brings back those of the whole order's cancellation."""
    known, is_accepted = update.known, update.is_accepted
    prior = NO_PRIOR_CANCELLATIONS
    if not update.is_reinstated:
        prior = _prior_cancellations(record, update.order, rows, known.stated_time, is_accepted=is_accepted)
    if not rows and not prior.units:
        return {}
    time = _contents_time(update, record)
    return cancelled_units(update.order.lines, [row.cancellation for row in rows], time, prior)


def newly_cancelled(
    update: OrderUpdate, record: AllocationRecord, rows: Sequence[CancellationRow]
) -> list[CancelledUnits]:
    """The units of stored cancellations of lines that apply to an order for the first time, by their cause."""
    if not rows:
        return []
    ordered, time = {line.line_id: line.unit_count for line in update.order.lines}, _contents_time(update, record)
    units: dict[CancellationCause, int] = {}
    for cancellation in units_of_lines([row.cancellation for row in rows], update.order.lines):
        is_new = not cancellation.is_applied and cancellation.cancel_time != PERMANENT
        if is_new and applies_to(cancellation, time):
            count = min(cancellation.unit_count, ordered.get(cancellation.line_id, 0))
            units[cancellation.cause] = units.get(cancellation.cause, 0) + count
    return [CancelledUnits(count, cause) for cause, count in units.items() if count]


def _contents_time(update: OrderUpdate, record: AllocationRecord) -> datetime | None:
    """The channel's time of an order's contents after a request."""
    is_original = update.request.key == (record.channel_id, record.order_id)
    return update.request.update_time if update.is_accepted and is_original else record.channel_update_time
