"""Reports of the six rates: windows, filters, breakdowns, and requests that are refused."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from policies.reports import rates
from service import limits
from service.rpc.proto_values import money, timestamp
from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import Retailer, order_request
from tests.service.reports.counted import (
    CANCELLATION,
    CHANNEL,
    LOCATION,
    MANUAL,
    MISMATCH,
    OVERSELL,
    check_report,
    figures,
    report,
)
from tests.service.test_bad_input import refused
from truestock.v1 import (
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    report_service_pb2 as report_pb,
)


async def sell(shop: Retailer) -> None:
    """Two channels sell 8 mugs of which there are 6; one order is cancelled, and an observer counts twice."""
    web = catalog_pb.Channel(channel_id="shop", kind=catalog_pb.Channel.KIND_WEB)
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[web]))
    await shop.stock({("MUG", "dc"): 6, ("BOWL", "dc"): 9})
    first = await shop.allocate("1", {"MUG": 2})
    await shop.allocate("2", {"MUG": 3}, channel_id="shop")
    await shop.allocate("3", {"MUG": 3})
    await shop.cancel(first.allocation_id, {"1": 2})
    feed = catalog_pb.Feed(source="scanner", role=catalog_pb.Feed.ROLE_OBSERVER)
    await shop.catalog.UpsertFeeds(catalog_pb.UpsertFeedsRequest(feeds=[feed]))
    await shop.count({("BOWL", "dc"): 9}, source="scanner")
    await shop.count({("BOWL", "dc"): 4}, source="scanner")


async def test_a_report_says_what_the_counters_say_by_channel_location_source_rule_and_revision(
    retailer: Retailer,
) -> None:
    await sell(retailer)
    every = [number for number in report_pb.ReportDimension.values() if number]
    answer = await report(retailer, dimensions=every, include_previous=True)
    by_dimension = {x.dimension: {group.key: group for group in x.groups} for x in answer.breakdowns}

    await check_report(retailer)
    oversell, mismatch = figures(answer, OVERSELL), figures(answer, MISMATCH)
    assert (oversell.count, oversell.total_count, oversell.order_count, oversell.total_order_count) == (2, 8, 1, 3)
    assert (mismatch.count, mismatch.total_count) == (1, 2)
    assert figures(by_dimension[CHANNEL]["shop"], OVERSELL).total_count == 3
    assert figures(by_dimension[report_pb.REPORT_DIMENSION_SOURCE]["scanner"], MISMATCH).count == 1
    assert figures(by_dimension[LOCATION]["dc"], MISMATCH).total_count == 2
    assert all(figures(x, OVERSELL).total_count == 8 for x in by_dimension[report_pb.REPORT_DIMENSION_RULE].values())
    (revision,) = by_dimension[report_pb.REPORT_DIMENSION_REVISION].values()
    assert (figures(revision, OVERSELL).count, figures(revision, CANCELLATION).count) == (2, 2)
    assert figures(revision, MANUAL).count == figures(answer, MANUAL).count > 0
    assert [x.total_count for x in answer.previous_figures] == [0] * len(rates.RATES)
    assert answer.open_exception_count > 0


async def test_a_report_of_one_channel_leaves_out_what_others_sold(retailer: Retailer) -> None:
    await sell(retailer)
    of_channel = await report(retailer, channel_ids=["shop"])
    of_location = await report(retailer, location_ids=["dc"])
    of_past = await report(retailer, since_time=None, until_time=timestamp(datetime.now(UTC) - timedelta(hours=1)))

    assert figures(of_channel, OVERSELL).total_count == 3
    assert MISMATCH not in {x.rate for x in of_channel.figures}
    assert OVERSELL not in {x.rate for x in of_location.figures}
    assert figures(of_location, MISMATCH).total_count == 2
    assert figures(of_past, OVERSELL).total_count == 0
    assert of_past.until_time.seconds - of_past.since_time.seconds == 7 * 86_400


async def test_a_report_says_what_would_have_avoided_each_oversell(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    request = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["MUG"], wanted_counts={"MUG": 7})
    await retailer.availability.CheckAvailability(request)
    await retailer.count({("MUG", "dc"): 1})
    await retailer.allocate("1", {"MUG": 3})
    await retailer.allocate("2", {"CUP": 1, "BOWL": 4})
    *more, oversell, last = (await report(retailer, include_oversells=True)).oversells
    assert [(x.sku, x.short_count) for x in (*more, last)] == [("BOWL", 4), ("CUP", 1)], "the most units come first"
    buffers = [x for x in oversell.remedies if x.kind == report_pb.OversellRemedy.KIND_BUFFER]

    assert (oversell.channel_id, oversell.order_id, oversell.sku, oversell.short_count) == ("web", "1", "MUG", 2)
    assert oversell.cause == "over_published"
    assert [x.unit_count for x in buffers] == [4]


OVERSOLD, CANCELLED = report_pb.ReportValue.KIND_OVERSOLD, report_pb.ReportValue.KIND_CANCELLED
KEPT, LATE_UNITS = report_pb.ReportValue.KIND_WITHHELD, report_pb.ReportValue.KIND_LATE


def worth(message: Any) -> list[tuple[Any, int, str]]:
    """What units were worth in a report or a group: kind, units and the amount."""
    return [
        (x.kind, x.unit_count, f"{x.value.units + x.value.nanos / 1e9:g} {x.value.currency_code}".strip())
        for x in message.values
    ]


async def sell_priced(shop: Retailer, order_id: str, prices: dict[str, tuple[int, str]], **fields: Any) -> Any:
    """Sells units of products at prices such as `2.50 USD`."""
    request = order_request(order_id, {sku: units for sku, (units, _) in prices.items()}, **fields)
    for line in request.lines:
        amount, _, currency = prices[line.sku][1].partition(" ")
        if currency:
            line.unit_price.CopyFrom(money(Decimal(amount), currency))
    return (await shop.allocations.AllocateOrder(request)).allocation


async def test_a_report_says_what_units_were_worth_in_the_currency_of_their_orders(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 4, ("BOWL", "dc"): 9})
    passed = datetime.now(UTC) - timedelta(hours=1)
    late = await sell_priced(retailer, "1", {"MUG": (2, "2.50 USD"), "BOWL": (1, "4 USD")}, ship_by_time=passed)
    await retailer.ship(late.shipments[0])
    await sell_priced(retailer, "2", {"MUG": (5, "2 EUR")})
    changed = {"MUG": (3, "2.50 USD"), "BOWL": (2, "4 USD")}
    await sell_priced(retailer, "3", changed)
    await sell_priced(retailer, "3", {"BOWL": (2, "4 USD")})
    unpriced = await sell_priced(retailer, "4", {"BOWL": (2, "")})
    await retailer.cancel(unpriced.allocation_id, {"1": 2})
    answer = await report(retailer, dimensions=[CHANNEL, LOCATION])
    by_channel, by_location = (breakdown.groups for breakdown in answer.breakdowns)

    assert worth(answer) == [
        (OVERSOLD, 3, "6 EUR"),
        (OVERSOLD, 3, "7.5 USD"),
        (CANCELLED, 3, "7.5 USD"),
        (CANCELLED, 2, "0"),
        (LATE_UNITS, 3, "9 USD"),
    ]
    assert worth(by_channel[0]) == worth(answer)
    assert worth(by_location[0]) == [(LATE_UNITS, 3, "9 USD")]


async def test_what_a_rule_cancels_at_once_is_worth_what_was_sold(retailers: RetailerMaker, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(PLAIN_RULES, rules)
    (rules / "merchant.yaml").write_text("kind: merchant\ntime_zone: UTC\ncurrency: USD\n")
    (rules / "exceptions.yaml").write_text(CANCELS_SHORT_UNITS)
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "dc"): 1})
    await sell_priced(shop, "1", {"MUG": (3, "2 USD")})
    answer = await report(shop)

    assert (answer.currency_code, worth(answer)) == ("USD", [(OVERSOLD, 2, "4 USD"), (CANCELLED, 2, "4 USD")])


CANCELS_SHORT_UNITS = "kind: exception\nrules: [{name: all, position: 1, do: cancel, owner: desk, due_in: 1h}]\n"
NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"since_time": timestamp(NOW + timedelta(days=1)), "until_time": None}, "which is in the future"),
        ({"until_time": timestamp(NOW + timedelta(days=1))}, "which is in the future; leave it out for now"),
        ({"since_time": timestamp(NOW - timedelta(days=401))}, "more than 400 days before the end of the window"),
        ({"since_time": timestamp(NOW), "until_time": timestamp(NOW - timedelta(days=1))}, "later than since_time"),
        ({"time_zone": "Chicago"}, "'Chicago' is not an IANA time zone such as 'America/Chicago'"),
        ({"channel_ids": ["shopfy"]}, "shopfy"),
        ({"location_ids": ["nowhere"]}, "nowhere"),
        ({"channel_ids": ["web"] * (limits.CHANNEL_FILTER + 1)}, "101 entries"),
        ({"dimensions": [99]}, "it must be one of: channel, location, source, rule, revision"),
        ({"step": 99}, "it must be one of: hour, day, week, month"),
        (
            {"step": report_pb.REPORT_STEP_HOUR, "since_time": timestamp(NOW - timedelta(days=40))},
            "more than 800 periods in the window; choose a longer step or a shorter window",
        ),
    ],
)
async def test_a_report_that_cannot_be_read_says_what_to_ask_for_instead(
    retailer: Retailer, fields: dict[str, Any], message: str
) -> None:
    refusal = await refused(report(retailer, **fields))

    assert message in refusal.message


async def test_a_report_that_takes_too_long_is_given_up(retailer: Retailer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REPORT_ROWS", 0)
    await retailer.stock({("MUG", "dc"): 1})
    await retailer.allocate("1", {"MUG": 1})
    refusal = await refused(report(retailer))

    assert "ask for a shorter window, a longer step or fewer dimensions" in refusal.message
