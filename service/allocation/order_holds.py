"""Puts orders on hold and releases them: the hold that a request or a status asks for, and what a release starts.

The stock of an order on hold stays promised; everything else that happens to it works as without the hold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from policies.domain.channel_statuses import MEANINGS, ORIGINAL_IS_DUE, PAYMENT_IS_DUE, HoldEffect, channel_status
from policies.domain.shipments import OPEN, ShipmentState
from policies.explanation import unit_count_text
from service.allocation.intake.channel_words import ReadRequest
from service.allocation.planner import AllocationChange
from service.allocation.planning_context import ChannelContext
from service.allocation.shipment_dates import ShipmentDates
from service.allocation.sync_failures import SYNC_FAILED
from service.orders.allocation_record import CONFIRMED, PROMISING, AllocationRecord
from service.orders.order_hold import OrderHold
from service.orders.order_requests import StatedHold

HOLD_OVERDUE = "hold_overdue"
ON_HOLD, HOLD_CHANGED, HOLD_RELEASED, HOLD_TOO_LATE = "on_hold", "hold_changed", "hold_released", "hold_too_late"


@dataclass(slots=True, unsafe_hash=True)
class StatedBefore:
    """The channel's time and status of an order before a request changed them."""

    update_time: Final[datetime | None]
    channel_status: Final[str | None]


def apply_request(
    record: AllocationRecord,
    read: ReadRequest,
    before: StatedBefore,
    *,
    now: datetime,
    channel_context: ChannelContext,
    platform: str | None,
) -> AllocationChange:
    """Puts an order on hold, changes its hold or releases it as a request says that is not older than the order.

    A request that states neither a hold nor a status with such a meaning changes nothing, unless it is the original
    that a copy of it has waited for.
    """
    stated = read.request.hold or _hold_of_status(read, now)
    if stated is not None:
        return _place(record, stated, read, before, now=now, platform=platform)
    is_original = read.request.key == (record.channel_id, record.order_id)
    if is_original and record.hold is not None and record.hold.reason == ORIGINAL_IS_DUE:
        return release(record, now, channel_context, "its original has arrived")
    if record.hold is not None and record.hold.is_active and _ends(read.meaning.hold, record.hold):
        return release(record, now, channel_context, f"the channel reports {read.request.channel_status}")
    return AllocationChange(record)


def release(
    record: AllocationRecord, now: datetime, channel_context: ChannelContext, cause: str, *, actor: str | None = None
) -> AllocationChange:
    """Releases an order: its work starts now, and so do the times by which it should ship."""
    hold = record.hold
    if hold is None or not hold.is_active:
        return AllocationChange(record)
    is_confirmed = record.state == CONFIRMED
    record.hold = replace(hold, release_time=now)
    for shipment in record.shipments:
        if shipment.state in OPEN and is_confirmed:
            shipment.assign_time = now if shipment.state is ShipmentState.ASSIGNED else shipment.assign_time
            handled_on = shipment.handling.day if shipment.handling else None
            dates = ShipmentDates(channel_context, record, now)
            shipment.promise_dates(dates.at(shipment.location_id, handled_on, method=shipment.method))
    units = unit_count_text(sum(record.promised().values()))
    sentence = f"Released from its hold ({hold.reason}): {cause}; {units} to fulfill."
    return AllocationChange(record, HOLD_RELEASED, sentence, intervention=HOLD_RELEASED if actor else "")


def _hold_of_status(read: ReadRequest, now: datetime) -> StatedHold | None:
    meaning = read.meaning
    if meaning.hold is not HoldEffect.PLACE:
        return None
    return StatedHold(meaning.hold_reason, now + meaning.hold_duration if meaning.hold_duration else None)


def _place(
    record: AllocationRecord,
    stated: StatedHold,
    read: ReadRequest,
    before: StatedBefore,
    *,
    now: datetime,
    platform: str | None,
) -> AllocationChange:
    if record.state not in PROMISING:
        return AllocationChange(record)
    if _is_repeat(record.hold, stated, read, before, platform):
        return AllocationChange(record)
    if record.state == CONFIRMED and not record.promised() and not record.shortages:
        return _too_late(record, stated, now)
    active = record.hold is not None and record.hold.is_active
    place_time = record.hold.place_time if record.hold is not None and active else now
    record.hold = OrderHold(stated.reason, stated.until, place_time)
    sentence = f"The order is {record.hold.sentence()}."
    if record.state != CONFIRMED:
        sentence = f"Once it is sold, the order is {record.hold.sentence()}."
    return AllocationChange(record, HOLD_CHANGED if active else ON_HOLD, sentence)


def _too_late(record: AllocationRecord, stated: StatedHold, now: datetime) -> AllocationChange:
    """A hold that comes when nothing is left to ship: it has ended at once, and somebody may stop the parcel."""
    record.hold, record.needs_person = OrderHold(stated.reason, stated.until, now, now), True
    sentence = f"A hold because of: {stated.reason} came too late; nothing of the order is left to ship."
    return AllocationChange(record, HOLD_TOO_LATE, sentence, intervention=SYNC_FAILED)


def _is_repeat(
    hold: OrderHold | None, stated: StatedHold, read: ReadRequest, before: StatedBefore, platform: str | None
) -> bool:
    """Whether a hold says nothing new: it is in force already, or it was released or passed since it was stated.

    A hold with a newer time than the order always is new, unless it is in force.
    """
    time, is_status = read.request.update_time, read.request.hold is None
    if hold is not None and hold.is_active:
        if not is_status:
            return (hold.reason, hold.until) == (stated.reason, stated.until)
        # A status does not say until when, so it never puts the end off. It replaces only a hold for payment or for
        # the original, which would end too early.
        return hold.reason not in (PAYMENT_IS_DUE, ORIGINAL_IS_DUE) or stated.reason == hold.reason
    is_newer = time is not None and (before.update_time is None or time > before.update_time)
    if is_newer:
        return False
    if is_status:
        is_repeated = hold is not None and read.request.channel_status == before.channel_status
        return is_repeated or (read.meaning.comes_first and (hold is not None or _has_moved_on(before, platform)))
    return hold is not None and (hold.reason, hold.until) == (stated.reason, stated.until)


def _has_moved_on(before: StatedBefore, platform: str | None) -> bool:
    """Whether the order's status before was one that follows every status that comes first."""
    if platform is None or before.channel_status is None:
        return False
    status = channel_status(platform, before.channel_status)
    return status is not None and MEANINGS[status].hold is HoldEffect.END


def _ends(effect: HoldEffect, hold: OrderHold) -> bool:
    """Whether a status with this effect ends the hold."""
    if effect is HoldEffect.END:
        return True
    is_for_payment = hold.reason == PAYMENT_IS_DUE
    return effect is (HoldEffect.END_PAYMENT_HOLD if is_for_payment else HoldEffect.END_OTHER_HOLD)
