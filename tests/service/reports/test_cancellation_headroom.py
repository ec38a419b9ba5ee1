"""Headroom until a marketplace's penalty follows its orders, and rules follow the headroom."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.reports import headroom_monitor
from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import Retailer, eventually, order_request
from tests.service.reports.counted import report
from truestock.v1 import catalog_service_pb2 as catalog_pb, order_pb2

BUYER, SELLER = order_pb2.CANCELLATION_FAULT_BUYER, order_pb2.CANCELLATION_FAULT_SELLER
BUFFER = """\
kind: buffer
name: headroom
scope: channel
rules:
  - {name: few-left, when: {channel.cancellation_headroom: {less_than: 0.25}}, hold_back: {percent: 50}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "routing.yaml").write_text((PLAIN_RULES / "plain.yaml").read_text())
    (tmp_path / "headroom.yaml").write_text(BUFFER)
    return tmp_path


@pytest.fixture
async def shop(retailers: RetailerMaker, rules: Path, monkeypatch: pytest.MonkeyPatch) -> Retailer:
    monkeypatch.setattr(headroom_monitor, "HEADROOM_SECONDS", 0.1)
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "dc"): 110})
    amazon = catalog_pb.Channel(channel_id="amazon", kind=catalog_pb.Channel.KIND_MARKETPLACE, platform="amazon")
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[amazon]))
    return shop


async def test_buffers_rise_when_a_marketplace_allows_few_more_cancellations_and_fall_when_old_ones_are_past(
    shop: Retailer,
) -> None:
    orders = await shop.allocate_together(
        [order_request(f"A-{n}", {"MUG": 1}, channel_id="amazon") for n in range(100)]
    )

    async def has_headroom(share: float) -> None:
        async def is_computed() -> bool:
            return shop.metric("cancellation_headroom_ratio", channel="amazon") == share

        await eventually(is_computed)

    # Of 100 orders, 2.5 may be cancelled.
    await has_headroom(1.0)
    for order, fault in ((orders[0], SELLER), (orders[1], SELLER), (orders[2], BUYER)):
        await shop.cancel(order.allocation_id, {"1": 1}, fault=fault)
    await has_headroom(0.2)
    (left,) = (await report(shop)).headrooms
    assert (left.channel_id, left.left_share, left.allowed_share, left.window_days) == ("amazon", 0.2, 0.025, 7)
    with_few_left = await shop.sellable("MUG", channel_id="amazon")
    await shop.sql("UPDATE order_count SET count_time = now() - interval '8 days' WHERE kind = 'cancelled'")
    await has_headroom(1.0)

    # Half of 13, rounded up, was kept.
    assert (with_few_left, await shop.sellable("MUG", channel_id="amazon")) == (6, 13)


async def test_a_channel_that_states_its_headroom_and_one_without_a_limit_are_left_alone(shop: Retailer) -> None:
    stated = catalog_pb.Channel(
        channel_id="amazon", kind=catalog_pb.Channel.KIND_MARKETPLACE, platform="amazon", cancellation_headroom=0.2
    )
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[stated]))
    await shop.allocate_together([order_request(f"A-{n}", {"MUG": 1}, channel_id="amazon") for n in range(50)])

    await shop.has_done("cancellation_headroom")
    (left,) = (await report(shop)).headrooms
    assert (left.left_share, left.HasField("allowed_share")) == (0.2, False)

    async def is_measured() -> bool:
        return shop.metric("cancellation_headroom_ratio", channel="amazon") == 0.2

    await eventually(is_measured)
    assert await shop.sellable("MUG", channel_id="amazon") == 30
    assert await shop.sellable("MUG") == 60
