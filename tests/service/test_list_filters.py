"""Lists of orders, shipments and exceptions: each filter, alone and with others, in every order, page by page."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from service import limits
from tests.retailer import HOLD, Retailer, refused
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    exception_pb2,
    exception_service_pb2 as exception_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    order_pb2,
)
from truestock.v1.allocation_service_pb2 import Allocation as Order
from truestock.v1.exception_pb2 import ExceptionRecord as Record
from truestock.v1.shipment_pb2 import Shipment

OLDEST, NEWEST, DUE = order_pb2.LIST_ORDER_OLDEST, order_pb2.LIST_ORDER_NEWEST, order_pb2.LIST_ORDER_DUE
Outcome, OrderStatus = order_pb2.Outcome, order_pb2.OrderStatus
OPEN = (Shipment.STATE_ASSIGNED, Shipment.STATE_ACCEPTED, Shipment.STATE_READY_FOR_PICKUP)
KITS = ("R-parts", "S-short")
"""Orders with a line of the kit SET."""
NEVER = Timestamp(seconds=253402214400)

Filter = tuple[dict[str, Any], Callable[[Any], bool]]


async def create_orders(shop: Retailer) -> None:
    """Orders of two channels in most statuses, with shipments at two locations and exceptions of a few kinds."""
    await shop.channels(tiktok="tiktok_shop")
    await shop.stock({("MUG", "dc"): 12, ("CUP", "store"): 9, ("POT", "dc"): 1})
    for number, channel_id in itertools.product(range(2), ("web", "tiktok")):
        await shop.allocate(f"Q{number}-open", {"MUG": 1, "CUP": 1}, channel_id=channel_id)
        shipped = await shop.allocate(f"Q{number}-shipped", {"MUG": 1}, channel_id=channel_id)
        await shop.ship(shipped.shipments[0])
        if number:
            await shop.deliver(shipped.shipments[0])
    started = await shop.allocate("100%_started", {"CUP": 2}, channel_id="tiktok")
    await shop.accept(started.shipments[0])
    parts = await shop.allocate("R-parts", {"CUP": 2})
    await shop.ship(parts.shipments[0], {"1": 1})
    returned = await shop.allocate("R-returned", {"MUG": 1})
    await shop.ship(returned.shipments[0])
    await shop.record_return(returned.allocation_id, {"1": 1}, "sellable", "dc")
    await shop.allocate("R-cart", {"MUG": 1}, HOLD)
    await shop.release((await shop.allocate("R-freed", {"MUG": 1}, HOLD)).allocation_id)
    await shop.allocate("R-refused", {"POT": 5}, HOLD)
    await shop.allocate("R-cancelled", {"MUG": 1})
    await shop.cancel_order("web/R-cancelled")
    await shop.allocate("S-on-hold", {"MUG": 1}, hold=order_pb2.OrderHold(reason="fraud check"))
    await shop.allocate("S-short", {"POT": 3}, channel_id="tiktok")
    await shop.allocate("S-short-of-both", {"POT": 2, "CUP": 90})
    backordered = await shop.allocate("S-late", {"POT": 7}, channel_id="tiktok")
    (short,) = (await shop.get(backordered.allocation_id)).exceptions
    await shop.resolve(short.exception_id, exception_pb2.EXCEPTION_RESOLUTION_BACKORDERED)
    await shop.allocate(
        "COPY-77", {"MUG": 1}, copy_of=order_pb2.OrderReference(channel_id="tiktok", order_id="S-short")
    )
    # As the lines of a kit are stored.
    await shop.sql(
        """
        UPDATE order_line SET kit_line_id = line_id, kit_sku = 'SET', kit_units = 1, kit_may_split = true
        WHERE allocation_id IN (SELECT id FROM allocation WHERE order_id IN ('R-parts', 'S-short'))
        """
    )
    for source in ("till", "wms"):
        failure = exception_pb.ReportSyncFailureRequest(source=source, description="x", location_id="dc", sku="MUG")
        await shop.exceptions.ReportSyncFailure(failure)
    for record in (await shop.open_exceptions())[::2]:
        request = exception_pb.AssignExceptionRequest(exception_id=record.exception_id, assignee="anna", actor="boss")
        await shop.exceptions.AssignException(request)


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await create_orders(retailer)
    return retailer


async def all_of(call: Any, request: Any, entries: str) -> list[Any]:
    listed: list[Any] = []
    for _ in range(1_000):
        page = await call(request)
        listed += getattr(page, entries)
        if not page.next_page_token:
            return listed
        request.page_token = page.next_page_token
    raise AssertionError("a list without an end")


async def orders(shop: Retailer, **fields: Any) -> list[Order]:
    return await all_of(shop.allocations.ListAllocations, allocation_pb.ListAllocationsRequest(**fields), "allocations")


async def shipments(shop: Retailer, **fields: Any) -> list[Shipment]:
    return await all_of(shop.fulfillment.ListShipments, fulfillment_pb.ListShipmentsRequest(**fields), "shipments")


async def exceptions(shop: Retailer, **fields: Any) -> list[Record]:
    return await all_of(shop.exceptions.ListExceptions, exception_pb.ListExceptionsRequest(**fields), "exceptions")


def combined(filters: list[Filter], *, in_pairs: bool) -> Iterable[Filter]:
    """No filter, and each alone; or two of different subjects, for two of one may exclude each other."""
    if not in_pairs:
        yield {}, lambda _: True
        yield from filters
        return
    # Every third of them is enough: each filter is still in ten.
    for (one, passes_one), (other, passes_other) in itertools.islice(itertools.combinations(filters, 2), 0, None, 3):
        subjects = {name.split("_")[0].replace("unassigned", "assignees") for name in (*one, *other)}
        if len(subjects) == 2:
            yield one | other, lambda entry, a=passes_one, b=passes_other: a(entry) and b(entry)  # type: ignore[misc]


@pytest.mark.parametrize("in_pairs", [False, pytest.param(True, marks=pytest.mark.long)])
async def test_lists_have_what_passes_their_filters_in_order(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch, in_pairs: bool
) -> None:
    for check, examined in itertools.product((check_orders, check_shipments, check_exceptions), (1_000, 3)):
        monkeypatch.undo()
        await check(shop, lambda count=examined: at_most(count, monkeypatch), in_pairs=in_pairs)  # type: ignore[misc]


def at_most(examined: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that pass a filter are few up to that many, and a page examines that many."""
    monkeypatch.setattr(limits, "EXAMINED", examined)


def has_location(order: Order, *location_ids: str) -> bool:
    units = [(x.location_id, line.unit_count + line.shipped_count) for x in order.shipments for line in x.lines]
    return any(location_id in location_ids and count for location_id, count in units)


def matches(order_id: str, part: str) -> bool:
    number, part = order_id.lower(), part.lower()
    return number.startswith(part) or number.endswith(part) or (len(part) >= 5 and part in number)


async def check_orders(shop: Retailer, examine: Callable[[], None], *, in_pairs: bool) -> None:
    everything = await orders(shop)
    examine()
    middle = everything[len(everything) // 2]
    filters: list[Filter] = [
        ({"channel_ids": ["tiktok"]}, lambda x: x.channel_id == "tiktok"),
        ({"states": [Order.STATE_CONFIRMED]}, lambda x: x.state == Order.STATE_CONFIRMED),
        ({"skus": ["CUP"]}, lambda x: any(line.sku == "CUP" for line in x.lines)),
        ({"skus": ["CUP", "POT"]}, lambda x: any(line.sku != "MUG" for line in x.lines)),
        ({"skus": ["SET", "MUG"]}, lambda x: x.order_id in KITS or any(line.sku == "MUG" for line in x.lines)),
        ({"location_ids": ["dc", "store"]}, lambda x: has_location(x, "dc", "store")),
        ({"location_id": "store"}, lambda x: has_location(x, "store")),
        ({"order_id_part": "Q1"}, lambda x: matches(x.order_id, "q1")),
        ({"order_id_part": "q1-"}, lambda x: matches(x.order_id, "q1-")),
        ({"order_id_part": "0%_Start"}, lambda x: x.order_id == "100%_started"),
        ({"order_id_part": "0%_s"}, lambda x: False),
        ({"order_id_part": "%_STARTED"}, lambda x: x.order_id == "100%_started"),
        ({"order_id_part": "copy-7"}, lambda x: x.order_id == "S-short"),
        ({"needs_person_only": True}, lambda x: x.needs_person),
        ({"on_hold_only": True}, lambda x: x.HasField("hold")),
        ({"created_from": middle.create_time}, lambda x: time(x.create_time) >= time(middle.create_time)),
        ({"created_before": middle.create_time}, lambda x: time(x.create_time) < time(middle.create_time)),
        ({"updated_from": middle.update_time}, lambda x: time(x.update_time) >= time(middle.update_time)),
        ({"updated_before": middle.update_time}, lambda x: time(x.update_time) < time(middle.update_time)),
        *(({"outcomes": [value]}, lambda x, v=value: x.outcome == v) for value in Outcome.values()[1:]),
        *(({"statuses": [value]}, lambda x, v=value: x.status == v) for value in OrderStatus.values()[1:]),
    ]
    filters = [entry for entry in filters if "order_id_part" not in entry[0] or len(entry[0]["order_id_part"]) >= 3]

    assert {x.status for x in everything} >= {*OrderStatus.values()} - {0, OrderStatus.ORDER_STATUS_IN_REVIEW}
    for fields, passes in combined(filters, in_pairs=in_pairs):
        expected = [x.order_id for x in everything if passes(x)]
        assert [x.order_id for x in await orders(shop, page_size=9, **fields)] == expected, fields
        newest = await orders(shop, page_size=9, order_by=NEWEST, **fields)
        assert [x.order_id for x in newest] == expected[::-1], fields


def time(value: Timestamp) -> datetime:
    return value.ToDatetime(UTC)


async def check_shipments(shop: Retailer, examine: Callable[[], None], *, in_pairs: bool) -> None:
    everything = await shipments(shop)
    examine()
    middle = everything[len(everything) // 2]
    filters: list[Filter] = [
        ({"channel_ids": ["tiktok"]}, lambda x: x.channel_id == "tiktok"),
        ({"states": [*OPEN]}, lambda x: x.state in OPEN),
        ({"states": [Shipment.STATE_SHIPPED]}, lambda x: x.state == Shipment.STATE_SHIPPED),
        ({"skus": ["CUP"]}, lambda x: any(line.sku == "CUP" for line in x.lines)),
        ({"skus": ["MUG", "POT"]}, lambda x: any(line.sku != "CUP" for line in x.lines)),
        ({"skus": ["SET"]}, lambda x: x.order_id in KITS),
        ({"location_ids": ["store"]}, lambda x: x.location_id == "store"),
        ({"location_ids": ["dc", "store"]}, lambda _: True),
        ({"order_id_part": "q1-"}, lambda x: matches(x.order_id, "q1-")),
        ({"order_id_part": "copy-7"}, lambda x: x.order_id == "S-short"),
        ({"assigned_from": middle.assign_time}, lambda x: time(x.assign_time) >= time(middle.assign_time)),
        ({"assigned_before": middle.assign_time}, lambda x: time(x.assign_time) < time(middle.assign_time)),
    ]

    assert len(everything) > 10
    for fields, passes in combined(filters, in_pairs=in_pairs):
        expected = [x.shipment_id for x in everything if passes(x)]
        assert [x.shipment_id for x in await shipments(shop, page_size=4, **fields)] == expected, fields
        newest = await shipments(shop, page_size=4, order_by=NEWEST, **fields)
        assert [x.shipment_id for x in newest] == expected[::-1], fields
        if Shipment.STATE_SHIPPED not in fields.get("states", ()):
            due = await shipments(shop, page_size=4, order_by=DUE, **fields)
            assert [x.shipment_id for x in due] == [x.shipment_id for x in by_due(everything) if passes(x)], fields


def by_due(listed: list[Shipment]) -> list[Shipment]:
    """The open ones, those that are due first, first."""
    is_open = [x for x in listed if x.state in OPEN]
    return sorted(is_open, key=lambda x: (time(x.ship_by_time if x.HasField("ship_by_time") else NEVER), x.shipment_id))


async def test_shipments_and_orders_come_by_the_time_to_ship_by(shop: Retailer) -> None:
    # Some without a time, and the others at one of a few, so that many are due at once.
    position = "abs(hashtext(id::text)) % 7"
    due_time = f"CASE WHEN {position} > 2 THEN assign_time - {position} * interval '1 h' END"
    await shop.sql(f"UPDATE shipment SET ship_by_time = date_trunc('hour', {due_time})")
    everything = await shipments(shop)
    due = by_due(everything)
    first: dict[str, Shipment] = {}
    for shipment in due:
        first.setdefault(shipment.allocation_id, shipment)
    sold = {x.allocation_id for x in await orders(shop, states=[Order.STATE_CONFIRMED]) if not x.HasField("hold")}

    listed = await orders(shop, page_size=2, order_by=DUE)

    assert [x.shipment_id for x in await shipments(shop, page_size=2, order_by=DUE)] == [x.shipment_id for x in due]
    assert [x.allocation_id for x in listed if x.allocation_id in sold] == list(first)
    assert len({x.allocation_id for x in listed}) == len(listed)


async def check_exceptions(shop: Retailer, examine: Callable[[], None], *, in_pairs: bool) -> None:
    everything = await exceptions(shop)
    of_line = {x.order_id for x in await orders(shop, skus=["CUP"])}
    examine()
    middle = everything[len(everything) // 2]
    resolved = exception_pb2.EXCEPTION_RESOLUTION_BACKORDERED
    filters: list[Filter] = [
        ({"channel_ids": ["tiktok"]}, lambda x: x.channel_id == "tiktok"),
        ({"states": [Record.STATE_OPEN]}, lambda x: x.state == Record.STATE_OPEN),
        ({"states": [Record.STATE_RESOLVED]}, lambda x: x.state == Record.STATE_RESOLVED),
        ({"kinds": ["sync_failed", "mismatch"]}, lambda x: x.kind == "sync_failed"),
        ({"owners": [middle.owner]}, lambda x: x.owner == middle.owner),
        ({"skus": ["MUG", "POT"]}, lambda x: x.sku in ("MUG", "POT") or x.order_id == "S-short-of-both"),
        ({"skus": ["CUP"]}, lambda x: x.sku == "CUP" or (not x.sku and x.order_id in of_line)),
        ({"skus": ["SET"]}, lambda x: x.order_id in KITS),
        ({"location_ids": ["dc"]}, lambda x: x.location_id == "dc"),
        ({"assignees": ["anna"]}, lambda x: x.assignee == "anna"),
        ({"unassigned_only": True}, lambda x: not x.assignee),
        ({"resolutions": [resolved]}, lambda x: x.resolution == resolved),
        ({"order_id_part": "short-of"}, lambda x: x.order_id == "S-short-of-both"),
        ({"created_from": middle.create_time}, lambda x: time(x.create_time) >= time(middle.create_time)),
        ({"created_before": middle.create_time}, lambda x: time(x.create_time) < time(middle.create_time)),
        ({"updated_from": middle.update_time}, lambda x: time(x.update_time) >= time(middle.update_time)),
        ({"updated_before": middle.update_time}, lambda x: time(x.update_time) < time(middle.update_time)),
    ]

    assert len(everything) >= 5
    for fields, passes in combined(filters, in_pairs=in_pairs):
        expected = [x for x in everything if passes(x)]
        for order_by, key in ((DUE, None), (OLDEST, 1), (NEWEST, -1)):
            sorted_ = sorted(expected, key=lambda x: x.exception_id)[:: key or 1] if key else expected
            listed = await exceptions(shop, page_size=2, order_by=order_by, **fields)
            assert [x.exception_id for x in listed] == [x.exception_id for x in sorted_], (fields, order_by)
        counted = (await page_with_counts(shop, **fields)).counts
        is_open = open_ones(everything, fields, filters)
        assert {(x.owner, x.kind): x.open_count for x in counted} == counts_of(is_open), fields


def open_ones(everything: list[Record], fields: dict[str, Any], filters: list[Filter]) -> list[Record]:
    """The open ones that pass all filters but that by state."""
    others = [passes for names, passes in filters if names.items() <= fields.items() and "states" not in names]
    return [x for x in everything if x.state == Record.STATE_OPEN and all(passes(x) for passes in others)]


def counts_of(records: list[Record]) -> dict[tuple[str, str], int]:
    keys = [(x.owner, x.kind) for x in records]
    return {key: keys.count(key) for key in keys}


async def page_with_counts(shop: Retailer, **fields: Any) -> exception_pb.ListExceptionsResponse:
    request = exception_pb.ListExceptionsRequest(page_size=1, include_counts=True, **fields)
    page: exception_pb.ListExceptionsResponse = await shop.exceptions.ListExceptions(request)
    return page


async def test_counts_say_how_many_are_overdue_and_where_they_end(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.sql("UPDATE exception SET due_time = clock_timestamp() - interval '1 h' WHERE kind = 'sync_failed'")
    whole = await page_with_counts(shop)
    monkeypatch.setattr(limits, "COUNTED_EXCEPTIONS", 2)
    partial = await page_with_counts(shop)

    assert {x.kind: x.overdue_count for x in whole.counts if x.overdue_count} == {"sync_failed": 2}
    assert not whole.counts_are_partial
    assert (partial.counts_are_partial, [(x.kind, x.open_count) for x in partial.counts]) == (
        True,
        [("sync_failed", 2)],
    )
    assert not (await page_with_counts(shop, order_id_part="nothing")).counts


async def test_a_failure_is_found_by_a_part_of_the_number_of_an_order_that_has_not_arrived(shop: Retailer) -> None:
    order = order_pb2.OrderReference(channel_id="tiktok", order_id="LATER-1")
    failure = exception_pb.ReportSyncFailureRequest(source="till", description="x", order=order)
    await shop.exceptions.ReportSyncFailure(failure)

    assert [x.order_id for x in await exceptions(shop, order_id_part="later")] == ["LATER-1"]
    assert [x.open_count for x in (await page_with_counts(shop, order_id_part="er-1")).counts] == [1]


async def test_a_part_from_the_middle_of_an_order_number_is_found_among_the_newest_orders(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.allocate("#DE-50123-X", {"MUG": 1})
    found = await orders(shop, order_id_part="50123")
    too_short = await orders(shop, order_id_part="5012")
    await shop.allocate("NEWER-1", {"MUG": 1})
    monkeypatch.setattr(limits, "NUMBERS_SEARCHED", 1)
    no_more = await orders(shop, order_id_part="50123")
    by_its_ends = [await orders(shop, order_id_part=part) for part in ("#de-50123", "50123-x")]

    assert [x.order_id for x in found] == ["#DE-50123-X"]
    assert (too_short, no_more) == ([], [])
    assert [[x.order_id for x in entries] for entries in by_its_ends] == [["#DE-50123-X"]] * 2


async def test_more_orders_than_a_page_examines_are_found_by_a_part_of_their_number(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = [x.order_id for x in await orders(shop) if matches(x.order_id, "Q1-")]
    at_most(2, monkeypatch)

    assert [x.order_id for x in await orders(shop, order_id_part="Q1-", page_size=1)] == everything
    assert len(everything) > 2


WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("orders", {"order_id_part": "12"}, "order_id_part", "at least 3 characters"),
    ("shipments", {"order_id_part": " 12"}, "order_id_part", "spaces"),
    ("exceptions", {"order_id_part": "x" * 129}, "order_id_part", "at most 128"),
    ("shipments", {"states": [10]}, "states[0]", "ListAllocations with on_hold_only"),
    ("orders", {"location_id": "dc", "location_ids": ["store"]}, "location_id", "left out"),
    ("orders", {"outcomes": [77]}, "outcomes[0]", "must be one of: allocated"),
    ("orders", {"statuses": [0]}, "statuses[0]", "must be one of: placed"),
    ("orders", {"skus": [""]}, "skus[0]", "empty"),
    ("orders", {"order_by": 9}, "order_by", "LIST_ORDER_OLDEST, LIST_ORDER_NEWEST, LIST_ORDER_DUE"),
    (
        "orders",
        {"created_from": Timestamp(seconds=2), "created_before": Timestamp(seconds=2)},
        "created_before",
        "later",
    ),
    ("orders", {"updated_from": Timestamp(seconds=-9)}, "updated_from", "1970"),
    ("shipments", {"skus": ["S"] * 501}, "skus", "501"),
    ("shipments", {"order_by": DUE, "states": [Shipment.STATE_SHIPPED]}, "states[0]", "open"),
    ("exceptions", {"assignees": ["anna"], "unassigned_only": True}, "assignees", "left out"),
    ("exceptions", {"resolutions": [99]}, "resolutions[0]", "must be one of: rerouted"),
    ("exceptions", {"location_ids": ["dc"] * 101}, "location_ids", "101"),
]
"""The list, its filters, the field that is wrong and a part of the error."""


async def test_a_wrong_filter_is_refused(retailer: Retailer) -> None:
    calls: dict[str, Any] = {"orders": orders, "shipments": shipments, "exceptions": exceptions}
    for method, fields, field, problem in WRONG:
        error = await refused(calls[method](retailer, **fields))

        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, fields
        assert field in (error.details() or ""), fields
        assert problem in (error.details() or ""), fields
