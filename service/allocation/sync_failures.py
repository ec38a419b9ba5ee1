"""Exceptions about orders on which their channel and Truestock do not agree; each names its order."""

from __future__ import annotations

from policies.domain.model import Channel, OrderFacts
from service.allocation.intake.channel_words import ReadRequest
from service.allocation.planner import AllocationChange
from service.exceptions.incidents import Incident
from service.orders.allocation_record import AllocationRecord
from service.orders.order_identity import OrderKey
from service.orders.order_requests import OrderRequest

SYNC_FAILED = "sync_failed"


def of_status(read: ReadRequest, record: AllocationRecord, channel: Channel) -> Incident:
    """A status that the platform is not known to use, or with which it reports a failure."""
    name, word = "/".join(read.request.key), read.request.channel_status
    sentence = f"{channel.platform} reports '{word}' for order {name}: it failed there; look it up at the channel."
    if read.status is None:
        problem = f"Order {name} has the status '{word}', which {channel.platform} is not known to use"
        sentence = f"{problem}; the order was allocated by its commitment."
    return _incident(f"{name}/{word}", sentence, read.request, record, channel)


def of_late_hold(change: AllocationChange, request: OrderRequest, channel: Channel) -> Incident:
    """A hold that came after everything had shipped."""
    return _incident(f"{'/'.join(request.key)}/hold", change.description, request, change.record, channel)


def of_contradiction(request: OrderRequest, original: OrderKey, record: AllocationRecord, channel: Channel) -> Incident:
    """A copy that is said to be of another order than `original`, of which it is one."""
    copy, stated, stored = "/".join(request.key), "/".join(request.copy_of or ()), "/".join(original)
    sentence = f"{copy} is a copy of {stored}; a request that calls it a copy of {stated} does not change that."
    return _incident(copy, sentence, request, record, channel)


def _incident(
    subject: str, sentence: str, request: OrderRequest, record: AllocationRecord, channel: Channel
) -> Incident:
    return Incident(
        SYNC_FAILED,
        subject,
        sentence,
        channel,
        channel_id=record.channel_id,
        allocation_id=record.id,
        order=OrderFacts.of(request.order),
        destination=request.order.destination,
    )
