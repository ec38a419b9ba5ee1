"""Unmet demand: HOLDs that were refused or cut, questions, missed sales, and what channels report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from service import limits
from service.database.database import Database
from service.demand import demand_store
from service.history import catalog_history
from service.metrics import Metrics
from service.policy import policy_history
from service.rpc.proto_values import timestamp
from tests.conftest import RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, eventually, order_request
from tests.service.test_bad_input import refused
from truestock.v1 import availability_service_pb2 as availability_pb, demand_pb2 as demand_pb, kit_pb2, order_pb2

KEPT_RULES = Path(__file__).parents[2] / "rules_kept"
Refused, Cut = demand_pb.DEMAND_KIND_HOLD_REFUSED, demand_pb.DEMAND_KIND_HOLD_CUT
Asked, Missed = demand_pb.DEMAND_KIND_AVAILABILITY, demand_pb.DEMAND_KIND_MISSED_SALE
Reported = demand_pb.DEMAND_KIND_REPORTED


async def unmet(shop: Retailer, **filters: Any) -> Sequence[demand_pb.UnmetDemand]:
    """Newest first."""
    answer: demand_pb.ListUnmetDemandResponse = await shop.availability.ListUnmetDemand(
        demand_pb.ListUnmetDemandRequest(**filters)
    )
    return answer.demands


async def sums(shop: Retailer, **filters: Any) -> list[tuple[str, int, int]]:
    """(SKU, units, entries) of each sum."""
    answer = await shop.availability.SumUnmetDemand(demand_pb.SumUnmetDemandRequest(**filters))
    return [(x.sku, x.unmet_count, x.demand_count) for x in answer.sums]


def counts(demands: Sequence[demand_pb.UnmetDemand]) -> list[tuple[int, int, int, int]]:
    """(kind, wanted, met, unmet) of each."""
    return [(x.kind, x.wanted_count, x.met_count, x.unmet_count) for x in demands]


def event(event_id: str, sku: str = "MUG", wanted: int = 3, **fields: Any) -> demand_pb.UnmetDemandEvent:
    values = {"channel_id": "web", "demand_time": timestamp(datetime.now(UTC)), **fields}
    return demand_pb.UnmetDemandEvent(event_id=event_id, sku=sku, wanted_count=wanted, **values)


async def test_a_channel_reports_unmet_demand_of_its_items(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 1})
    await retailer.list_item("web", "9223372036854775808", "MUG", 6)
    request = demand_pb.RecordUnmetDemandRequest(
        events=[
            event("e-1", "", 3, item_id="9223372036854775808", met_count=1),
            event("e-2", "", 1, item_id="7"),
            event("e-3", "MUG", 2),
        ]
    )
    answer = await retailer.availability.RecordUnmetDemand(request)
    again = await retailer.availability.RecordUnmetDemand(request)
    recorded = sorted((x.event_id, x.sku, x.wanted_count, x.met_count, x.unmet_count) for x in await unmet(retailer))
    wrong = demand_pb.RecordUnmetDemandRequest(
        events=[event("e-4", item_id="7"), event("e-5", "", item_id="7", channel_id="", kind=Missed, location_id="dc")]
    )
    refusal = await refused(retailer.availability.RecordUnmetDemand(wrong))

    assert (answer.recorded_count, list(answer.unknown_item_ids), list(answer.unknown_skus)) == (2, ["7"], [])
    assert (again.recorded_count, again.duplicate_count) == (0, 2)
    assert recorded == [("e-1", "MUG", 18, 6, 12), ("e-3", "MUG", 2, 0, 2)]
    assert "events[0].sku: must be empty if item_id is set" in refusal.message
    assert "events[1].channel_id: must not be empty if item_id is set" in refusal.message


async def report(shop: Retailer, *events: demand_pb.UnmetDemandEvent, **fields: Any) -> tuple[int, int, list[str]]:
    request = demand_pb.RecordUnmetDemandRequest(events=events, **fields)
    answer = await shop.availability.RecordUnmetDemand(request)
    return answer.recorded_count, answer.duplicate_count, list(answer.unknown_skus)


async def ask(shop: Retailer, wanted: dict[str, int], **fields: Any) -> None:
    request = availability_pb.CheckAvailabilityRequest(
        channel_id="web", skus=list(wanted), wanted_counts=wanted, **fields
    )
    await shop.availability.CheckAvailability(request)


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 4, ("BOWL", "dc"): 0})
    return retailer


async def test_a_refused_and_a_cut_hold_are_recorded_with_their_lines(shop: Retailer) -> None:
    before = shop.metric("unmet_demand_units_total", channel="web", cause="out_of_stock")
    await shop.allocate("A-1", [("MUG", 1), ("BOWL", 2)], HOLD)
    await shop.allocate("A-2", {"BOWL": 5}, HOLD)

    newer, older = await unmet(shop)
    assert counts([newer, older]) == [(Refused, 5, 0, 5), (Cut, 2, 0, 2)]
    assert (older.sku, older.order_id, older.line_id, older.channel_id) == ("BOWL", "A-1", "2", "web")
    assert (older.cause, older.method) == ("out_of_stock", order_pb2.FULFILLMENT_METHOD_SHIP)
    assert older.policy_revision
    assert older.allocation_id
    after = shop.metric("unmet_demand_units_total", channel="web", cause="out_of_stock")
    assert after - before == 7


async def test_the_same_order_again_is_the_same_demand(shop: Retailer) -> None:
    for units in (6, 6, 9, 5, 9):
        await shop.allocate("A-1", {"MUG": units}, HOLD)

    assert sum(x.unmet_count for x in await unmet(shop)) == 5


async def test_a_hold_that_was_refused_and_then_cut_counts_each_unit_once(shop: Retailer) -> None:
    await shop.allocate("A-1", {"BOWL": 6}, HOLD)
    await shop.count({("BOWL", "dc"): 4})
    cut = await shop.allocate("A-1", {"BOWL": 6}, HOLD)
    await shop.release(cut.allocation_id)
    await shop.count({("BOWL", "dc"): 0})
    await shop.allocate("A-1", {"BOWL": 6}, HOLD)

    assert counts(await unmet(shop)) == [(Refused, 6, 0, 6)]


async def test_a_change_of_a_hold_that_is_refused_is_unmet_beyond_what_it_keeps(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 2}, HOLD)
    changed = await shop.allocate("A-1", {"MUG": 7}, HOLD)
    await shop.allocate("A-1", {"MUG": 7}, HOLD)

    assert changed.change_refused
    found = await unmet(shop)
    assert sorted((x.cause, x.wanted_count, x.met_count, x.unmet_count) for x in found) == [
        ("out_of_stock", 7, 2, 3),
        ("unfillable", 7, 2, 2),
    ]


async def test_a_kit_that_cannot_be_held_is_unmet_by_component(shop: Retailer) -> None:
    await shop.stock({("SET", "dc"): 0})
    kit = kit_pb2.Kit(sku="SET", components=[kit_pb2.KitComponent(sku=sku, unit_count=2) for sku in ("MUG", "BOWL")])
    await shop.catalog.UpsertKits(kit_pb2.UpsertKitsRequest(kits=[kit]))
    await shop.allocate("A-1", {"SET": 3}, HOLD)

    found = sorted((x.sku, x.kind, x.wanted_count, x.unmet_count, x.cause) for x in await unmet(shop))
    assert found == [
        ("BOWL", Refused, 6, 6, "out_of_stock"),
        ("MUG", Refused, 6, 2, "out_of_stock"),
        ("MUG", Refused, 6, 4, found[2][4]),
    ]


async def test_nothing_is_invented(shop: Retailer) -> None:
    await shop.allocate("S-1", {"BOWL": 2}, SOLD)
    await shop.allocate("H-1", {"MUG": 4}, HOLD)
    await shop.allocations.AllocateOrder(order_request("P-1", {"BOWL": 2}, HOLD, validate_only=True))
    await refused(shop.allocate("U-1", {"UNKNOWN": 2}, HOLD))
    await ask(shop, {"MUG": 1}, internal=True)

    assert list(await unmet(shop)) == []


async def test_an_order_that_gets_what_it_wants_writes_nothing_to_the_recorded_past(shop: Retailer) -> None:
    rows = " UNION ALL ".join(
        f"SELECT count(*) FROM {x}" for x in ("unmet_demand", "policy_history", "catalog_history")
    )
    before = await shop.sql(rows)
    for commitment in (HOLD, SOLD):
        order = await shop.allocate(f"A-{commitment}", {"MUG": 1}, commitment)
        await shop.ship(order.shipments[0]) if commitment == SOLD else await shop.confirm(order.allocation_id)

    assert await shop.sql(rows) == before


async def test_units_that_rules_keep_are_unmet_for_the_rule(retailers: RetailerMaker) -> None:
    shop = await retailers.make(KEPT_RULES)
    await shop.stock({("MUG", "dc"): 4})
    await ask(shop, {"MUG": 3})
    held = await shop.allocate("H-1", {"MUG": 6}, HOLD)

    await eventually(lambda: _has(shop, 3))
    found = {x.cause: (x.kind, x.met_count, x.unmet_count, list(x.rules)) for x in await unmet(shop)}
    assert found == {
        "kept_by_rules": (Asked, 2, 1, []),
        "held_by_buffer": (Cut, 2, 2, ["half"]),
        "out_of_stock": (Cut, 2, 2, []),
    }
    # A HOLD is not sold: its own shortage names neither rule nor cause.
    assert [(x.unit_count, x.cause, list(x.rules)) for x in held.shortages] == [(4, "", [])]


@pytest.mark.usefixtures("one_minute")
async def test_questions_that_want_more_than_is_sellable_are_merged_by_minute(shop: Retailer) -> None:
    for wanted in (6, 5, 6, 9):
        await ask(shop, {"MUG": wanted, "BOWL": 1})
    await ask(shop, {"MUG": 4})

    await eventually(lambda: _has(shop, 3))
    found = await unmet(shop, skus=["MUG"])
    assert counts(found) == [(Asked, 9, 4, 3), (Asked, 6, 4, 2)]
    assert {(x.cause, x.channel_id, x.call_count) for x in found} == {("out_of_stock", "web", 1)}
    assert await sums(shop) == [("MUG", 5, 2), ("BOWL", 1, 1)]


async def test_calls_that_found_no_more_lacking_are_written_when_the_service_stops(retailers: RetailerMaker) -> None:
    shop, reader = await retailers.make(), await retailers.make()
    await shop.stock({("MUG", "dc"): 0})
    for _ in range(5):
        await ask(shop, {"MUG": 3})
    await retailers.stop(shop)

    found = await unmet(reader)
    assert sum(x.unmet_count for x in found) == 3
    # The minute may have ended between two of the calls.
    assert sum(x.call_count for x in found) == 5


async def test_channels_and_tills_report_each_event_once(shop: Retailer) -> None:
    till = event("T-7", kind=Missed, channel_id="", location_id="dc", wanted=2, met_count=1)

    assert await report(shop, event("E-1"), till, event("E-2", sku="NEW")) == (2, 0, ["NEW"])
    assert await report(shop, event("E-1"), till, event("E-3")) == (1, 2, [])
    assert sorted(counts(await unmet(shop))) == [(Missed, 2, 1, 1), (Reported, 3, 0, 3), (Reported, 3, 0, 3)]
    (missed,) = await unmet(shop, kinds=[Missed])
    assert (missed.location_id, missed.event_id, missed.cause, missed.channel_id) == ("dc", "T-7", "reported", "")


async def test_bad_reports_are_refused_whole(shop: Retailer) -> None:
    now = datetime.now(UTC)
    for field, bad in {
        "events[1].event_id": event("E-1"),
        "events[1].channel_id": event("E-2", channel_id=""),
        "events[1].location_id": event("E-2", kind=Missed),
        "events[1].kind": event("E-2", kind=Cut),
        "events[1].wanted_count": event("E-2", wanted=limits.LINE_UNITS + 1),
        "events[1].met_count": event("E-2", met_count=3),
        "events[1].demand_time": event("E-2", demand_time=timestamp(now - timedelta(days=731))),
    }.items():
        error = await refused(report(shop, event("E-1"), bad))
        assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field)
    error = await refused(report(shop, event("E-1"), event("E-2", channel_id="nowhere")))
    assert error.is_(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "events[1].channel_id")

    assert list(await unmet(shop)) == []


async def test_questions_that_want_what_they_do_not_name_are_refused(shop: Retailer) -> None:
    for wanted in ({"BOWL": 1}, {"MUG": 0}):
        request = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["MUG"], wanted_counts=wanted)
        error = await refused(shop.availability.CheckAvailability(request))
        assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", f"wanted_counts[{next(iter(wanted))}]")


async def test_demand_is_listed_and_summed_up_by_sku_channel_and_day(shop: Retailer) -> None:
    now = datetime.now(UTC).replace(hour=12)
    days = [now - timedelta(days=number) for number in (2, 2, 3, 40)]
    events = [event(f"E-{number}", wanted=number + 1, demand_time=timestamp(day)) for number, day in enumerate(days)]
    await report(shop, *events, event("B-1", sku="BOWL", demand_time=timestamp(days[0])))

    assert [x.event_id for x in await unmet(shop, skus=["MUG"])] == ["E-1", "E-0", "E-2", "E-3"]
    assert [x.event_id for x in await unmet(shop, until_time=timestamp(days[2] + timedelta(hours=1)))] == ["E-2", "E-3"]
    assert list(await unmet(shop, channel_ids=["tiktok"])) == []
    assert await sums(shop) == [("BOWL", 3, 1), ("MUG", 3, 2), ("MUG", 3, 1)]
    request = demand_pb.SumUnmetDemandRequest(skus=["MUG"], since_time=timestamp(days[3]), page_size=1)
    pages: list[tuple[int, int]] = []
    while not pages or request.page_token:
        page = await shop.availability.SumUnmetDemand(request)
        pages += [(x.date.day, x.unmet_count) for x in page.sums]
        request.page_token = page.next_page_token
    assert pages == [(days[0].day, 3), (days[2].day, 3), (days[3].day, 4)]


async def _has(shop: Retailer, count: int) -> bool:
    return len(await unmet(shop)) >= count


async def test_rows_past_their_retention_are_purged(shop: Retailer) -> None:
    await report(shop, event("E-1"), event("E-2", demand_time=timestamp(datetime.now(UTC) - timedelta(days=9))))
    await shop.sql("UPDATE catalog_history SET change_time = now() - interval '9 days' WHERE kind = 'product'")
    await shop.sql("UPDATE policy_history SET event_time = now() - interval '9 days'")
    await shop.sql(
        "INSERT INTO policy_history (instance, run_id, event, revision, load_time, event_time) SELECT"
        " instance, run_id, 'loaded', '2', now(), now() - interval '8 days' FROM policy_history"
    )
    database = await Database.open(shop.database_url, Metrics(CollectorRegistry()), connections=2)
    for purge in (demand_store.purge, catalog_history.purge, policy_history.purge):
        assert await database.transaction("purge", partial(purge, retention=timedelta(days=7))) >= 1
        assert await database.transaction("purge", partial(purge, retention=timedelta(days=7))) == 0
    await database.close()

    assert [x.event_id for x in await unmet(shop)] == ["E-1"]
    kinds = await shop.sql("SELECT DISTINCT kind FROM catalog_history ORDER BY kind")
    assert [row["kind"] for row in kinds] == ["channel", "location"]
    # The last event of a service that has not stopped stays: its rules may still be in force.
    assert [row["revision"] for row in await shop.sql("SELECT revision FROM policy_history")] == ["2"]
