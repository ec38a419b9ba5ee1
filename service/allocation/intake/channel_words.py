"""What the channel's own status of an order does to a request: the commitment and the hold that it implies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from policies.domain.channel_statuses import MEANINGS, ChannelStatus, StatusMeaning, channel_status
from policies.domain.model import Channel, Commitment
from service.errors import Violation
from service.orders.order_requests import OrderRequest, check_hold_duration

WITHOUT_EFFECT = MEANINGS[ChannelStatus.NOTED]
_UNKNOWN = StatusMeaning("Not a status that the platform is known to use.", is_failure=True)


@dataclass(slots=True, unsafe_hash=True)
class ReadRequest:
    """A request with the commitment and the hold duration that its status implies, and what that status means.

    `status` is None if there is none, if it is unknown, or if its channel has no platform.
    """

    request: Final[OrderRequest]
    meaning: Final[StatusMeaning] = WITHOUT_EFFECT
    status: Final[ChannelStatus | None] = None


def read_status(request: OrderRequest, channel: Channel) -> ReadRequest:
    """Reads the request's status. A channel without a platform may use any status, and none of them acts."""
    if request.channel_status is None or channel.platform is None:
        return ReadRequest(request)
    status = channel_status(channel.platform, request.channel_status)
    meaning = _UNKNOWN if status is None else MEANINGS[status]
    order = replace(request.order, commitment=meaning.commitment or request.order.commitment)
    # An order that is not paid is held for as long as its channel lets it be paid; others for the default duration.
    unpaid_duration = channel.unpaid_order_duration if status is ChannelStatus.PLACED else None
    duration = request.hold_duration or unpaid_duration
    return ReadRequest(replace(request, order=order, hold_duration=duration), meaning, status)


def violations(request: OrderRequest, channel: Channel) -> list[Violation]:
    """What is wrong with a request of an unpaid order for its channel; `request` is read with its status."""
    if request.order.commitment is Commitment.SOLD:
        return []
    problem = "is only for a sold order; the stock of an unpaid one is held for its hold_duration"
    without_sale = [Violation("hold", problem)] if request.hold is not None else []
    return [*request.left_out, *check_hold_duration(request.hold_duration, channel), *without_sale]
