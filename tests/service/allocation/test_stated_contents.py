"""What a message of a channel makes of an order that is known already: where it goes, and what stays cancelled."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from policies.decisions.cancellations import PendingCancellation
from policies.domain.model import Commitment, Destination
from service.allocation.intake.contradictions import KnownOrder
from service.allocation.intake.stated_contents import OrderUpdate, cancelled_units_of, with_kept_destination
from service.orders.allocation_record import CONFIRMED, EXPIRED, AllocationRecord
from service.orders.cancellations.pending_cancellations import CancellationRow
from service.orders.order_requests import OrderRequest
from tests.policies.small_retailer import NOW, TO_OSLO, sold

MUGS = sold({"MUG": 3}, destination=TO_OSLO)
KEY = (MUGS.channel_id, MUGS.order_id)
NORWAY = Destination(country="NO")


def known() -> AllocationRecord:
    """The order as it was sold before."""
    record = AllocationRecord(uuid4(), *KEY, NOW, NOW)
    record.replace_contents(MUGS)
    record.state, record.commitment = CONFIRMED, Commitment.SOLD
    return record


@pytest.mark.parametrize(("state", "goes_to"), [(CONFIRMED, NORWAY), (EXPIRED, TO_OSLO)])
def test_a_sold_order_gets_no_address_again_and_a_lapsed_cart_that_is_bought_after_all_does(
    state: str, goes_to: Destination
) -> None:
    record = known()
    record.destination, record.was_dropped, record.state = NORWAY, True, state

    request = with_kept_destination(OrderRequest(MUGS, None, None), record)

    assert request.order == replace(MUGS, destination=goes_to)


def test_a_unit_that_a_rule_cancelled_is_not_brought_back_by_a_refund_that_the_contents_included() -> None:
    record = known()
    record.lines[0].cancelled = 1
    record.channel_update_time = NOW
    included = PendingCancellation("1", 1, NOW - timedelta(minutes=5), is_applied=True)
    request = OrderRequest(MUGS, None, None, update_time=NOW + timedelta(minutes=5))
    update = OrderUpdate(
        request, MUGS, KnownOrder.of(record, is_cancelled=False), is_accepted=True, is_reinstated=False
    )

    assert cancelled_units_of(update, record, [CancellationRow(KEY, "refund-1", included)]) == {"1": 1}
