"""Order statuses, their mapping from platform statuses, and the units that stored cancellations cancel."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from policies.decisions.cancellations import PendingCancellation, PriorCancellations, cancelled_units
from policies.domain.channel_statuses import PLATFORMS, ChannelStatus, channel_status
from policies.domain.model import OrderLine
from policies.domain.order_status import LineFigures, OrderFigures, OrderStatus, status_of


def figures(state: str = "confirmed", *, units: int = 4, **fields: object) -> OrderFigures:
    counts = {name: fields.pop(name) for name in list(fields) if name not in ("deliveries", "is_started", "in_review")}
    return OrderFigures(state, (LineFigures(units, **counts),), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("order", "status"),
    [
        (figures("held", promised=4), OrderStatus.PLACED),
        (figures("refused"), OrderStatus.NOT_PROMISED),
        (figures("released"), OrderStatus.NOT_PROMISED),
        (figures("expired"), OrderStatus.NOT_PROMISED),
        (figures("released", cancelled=4), OrderStatus.CANCELLED),
        (figures("cancelled", cancelled=4), OrderStatus.CANCELLED),
        (figures(promised=4, in_review=True), OrderStatus.IN_REVIEW),
        (figures(promised=4), OrderStatus.READY_TO_FULFILL),
        (figures(promised=4, is_started=True), OrderStatus.IN_PROGRESS),
        (figures(promised=3, short=1), OrderStatus.EXCEPTION),
        (figures(short=4, in_review=True), OrderStatus.EXCEPTION),
        (figures(promised=3, backordered=1), OrderStatus.BACKORDERED),
        (figures(promised=2, shipped=2), OrderStatus.PARTLY_SHIPPED),
        (figures(backordered=2, shipped=2, deliveries=(True,)), OrderStatus.PARTLY_SHIPPED),
        (figures(shipped=4, deliveries=(False,)), OrderStatus.SHIPPED),
        (figures(shipped=2, cancelled=2, deliveries=(False,)), OrderStatus.SHIPPED),
        (figures(shipped=4, deliveries=(True, False)), OrderStatus.SHIPPED),
        (figures(shipped=4, deliveries=(True, True)), OrderStatus.DELIVERED),
        (figures(shipped=4, returned=1, deliveries=(True,)), OrderStatus.DELIVERED),
        (figures(shipped=4, returned=4, deliveries=(True,)), OrderStatus.RETURNED),
    ],
)
def test_the_status_follows_from_the_promise_and_the_shipments(order: OrderFigures, status: OrderStatus) -> None:
    assert status_of(order) is status


@pytest.mark.parametrize(
    ("platform", "word", "status"),
    [
        ("tiktok_shop", "UNPAID", ChannelStatus.PLACED),
        ("tiktok_shop", "ON_HOLD", ChannelStatus.REMORSE),
        ("tiktok_shop", "AWAITING_SHIPMENT", ChannelStatus.READY),
        ("tiktok_shop", "AWAITING_COLLECTION", ChannelStatus.LABELLED),
        ("tiktok_shop", "CANCEL", ChannelStatus.CANCELLED),
        ("tiktok_shop", "CANCELLED", ChannelStatus.CANCELLED),
        ("shopify", "pending", ChannelStatus.PLACED),
        ("shopify", "IN_PROGRESS", ChannelStatus.IN_WORK),
        ("square", "CANCELED", ChannelStatus.CANCELLED),
        ("amazon", "PendingAvailability", ChannelStatus.PLACED),
        ("amazon", "PartiallyShipped", ChannelStatus.PARTLY_SHIPPED),
        ("walmart", "Acknowledged", ChannelStatus.IN_WORK),
        ("walmart", "UNPAID", None),
        ("shopify", "", None),
    ],
)
def test_a_platform_status_is_mapped_to_a_channel_status(
    platform: str, word: str, status: ChannelStatus | None
) -> None:
    assert channel_status(platform, word) is status


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_platform_has_a_status_for_a_cancelled_order(platform: str) -> None:
    assert ChannelStatus.CANCELLED in (channel_status(platform, "CANCELLED"), channel_status(platform, "Canceled"))


@given(st.text(max_size=64))
def test_any_text_is_a_known_or_an_unknown_status(word: str) -> None:
    for platform in PLATFORMS:
        assert channel_status(platform, word) in (None, *ChannelStatus)


# Units that stored cancellations cancel

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
LINES = (OrderLine("1", "MUG", 5), OrderLine("2", "CUP", 2))
moments = st.none() | st.integers(0, 5).map(lambda hours: MONDAY + timedelta(hours=hours))
cancellations = st.builds(
    PendingCancellation, st.sampled_from(["1", "2", "3"]), st.integers(1, 4), moments, st.booleans()
)


def test_contents_as_new_as_a_cancellation_already_include_it() -> None:
    pending = [PendingCancellation("1", 2, MONDAY)]

    assert cancelled_units(LINES, pending, MONDAY, PriorCancellations()) == {}
    assert cancelled_units(LINES, pending, MONDAY - timedelta(seconds=1), PriorCancellations()) == {"1": 2}


def test_a_cancellation_without_a_time_applies_to_the_first_contents() -> None:
    assert cancelled_units(LINES, [PendingCancellation("1", 2)], None, PriorCancellations()) == {"1": 2}
    assert cancelled_units(LINES, [PendingCancellation("1", 2, is_applied=True)], None, PriorCancellations()) == {}


def test_cancelled_units_stay_cancelled_and_are_not_cancelled_twice() -> None:
    applied = PendingCancellation("1", 2, MONDAY + timedelta(hours=1), is_applied=True)
    prior = PriorCancellations({"1": 3}, MONDAY)

    assert cancelled_units(LINES, [applied], MONDAY, prior) == {"1": 3}
    assert cancelled_units(LINES, [applied], MONDAY + timedelta(hours=2), prior) == {"1": 1}


@given(st.lists(cancellations, max_size=4), moments, st.dictionaries(st.sampled_from(["1", "2"]), st.integers(1, 2)))
def test_no_more_units_are_cancelled_than_a_line_has(
    pending: list[PendingCancellation], time: datetime | None, prior: dict[str, int]
) -> None:
    units = cancelled_units(LINES, pending, time, PriorCancellations(prior))

    assert all(1 <= units.get(line.line_id, 1) <= line.unit_count for line in LINES)
    assert set(units) <= {"1", "2"}


@given(st.lists(cancellations, max_size=4), moments)
def test_the_order_in_which_cancellations_arrive_does_not_matter(
    pending: list[PendingCancellation], time: datetime | None
) -> None:
    answers = [
        cancelled_units(LINES, arrival_order, time, PriorCancellations())
        for arrival_order in itertools.permutations(pending)
    ]

    assert all(answer == answers[0] for answer in answers)
