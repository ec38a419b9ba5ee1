"""Bad input gets a clear error with a reason, and changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from google.type.date_pb2 import Date
from google.type.timeofday_pb2 import TimeOfDay

from policies.domain.near_names import near_keys
from service.catalog import unknown_records
from service.errors import no_location
from service.rpc.page_tokens import PageTokens
from tests.retailer import HOLD, SOLD, Retailer, change, request_id
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    exception_service_pb2 as exception_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    order_pb2,
    stock_service_pb2 as stock_pb,
)


@pytest.fixture
async def shop(retailer: Retailer) -> AsyncIterator[Retailer]:
    """Five mugs in the warehouse; a refused call must not change them, and must not store an order."""
    await retailer.stock({("MUG", "dc"): 5})
    yield retailer
    level = await retailer.level("MUG", "dc")
    assert (level.on_hand_count, level.available_count) == (5, 5)
    assert not await retailer.sql("SELECT FROM allocation")
    assert (await retailer.ledger()).balanced


async def test_an_unknown_sku_is_named(shop: Retailer) -> None:
    # For a cart: a paid order is accepted all the same, see test_unmapped_orders.
    error = await refused(shop.allocate("A-1", [("MUG", 1), ("MGU", 1)], HOLD))

    assert error.is_(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "lines[1].sku")
    assert "'MGU'" in error.message


async def test_the_error_about_an_unknown_sku_names_the_near_one(shop: Retailer) -> None:
    others = [catalog_pb.Product(sku=other) for other in ("0042", "TRN-1205-MOS", "POT")]
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=others))
    near = {"mug": "MUG", "MGU": "MUG", "42": "0042", "TRN-125-MOS": "TRN-1205-MOS", "VASE": None}

    for sku, meant in near.items():
        error = await refused(shop.allocate("A-1", {sku: 1}, HOLD))

        assert error.message == (
            (f"no product '{sku}'; did you mean '{meant}'? If not, " if meant else f"no product '{sku}'; ")
            + "upsert it first with UpsertProducts or `truestock import products`"
        )


BAD_FILTERS: list[tuple[str, dict[str, Any], str]] = [
    ("ListLocations", {"types": [99]}, "types[0]"),
    ("ListLocations", {"statuses": [1, 0]}, "statuses[1]"),
    ("ListLocations", {"tags": ["x"] * 101}, "tags"),
    ("ListLocations", {"location_ids": [""]}, "location_ids[0]"),
    ("ListLocations", {"countries": ["\x00"]}, "countries[0]"),
    ("ListProducts", {"near_skus": ["A", "B", "C", "D", "E", "F"]}, "near_skus"),
    ("ListProducts", {"categories": ["x"] * 101}, "categories"),
    ("ListProducts", {"brands": ["x" * 257]}, "brands[0]"),
    ("ListChannels", {"kinds": [7]}, "kinds[0]"),
    ("ListChannels", {"channel_ids": ["x"] * 101}, "channel_ids"),
    ("ListTags", {"page_size": -1}, "page_size"),
]


async def test_bad_filters_of_the_catalog_are_refused(shop: Retailer) -> None:
    for name, fields, wrong in BAD_FILTERS:
        error = await refused(getattr(shop.catalog, name)(getattr(catalog_pb, f"{name}Request")(**fields)))

        assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", wrong), (name, fields)


def test_the_error_about_many_unknown_locations_names_near_ones_for_the_first() -> None:
    missing = {f"feeds[0].location_ids[{number}]": f"dc-{number:05}" for number in range(50_000)}

    error = no_location(missing, [f"dc_{number:05}" for number in range(1_000)])

    assert sum("did you mean" in violation.description for violation in error.violations) == 5
    assert "'dc-00004' and 49995 more; did you mean 'dc_00000'" in str(error)


async def test_near_skus_are_found_by_an_index(shop: Retailer) -> None:
    await shop.sql(
        "INSERT INTO product (sku, display_name, status, tags) "
        "SELECT 'S-' || n, '', 'active', '{}' FROM generate_series(1, 5000) n"
    )
    await shop.sql("ANALYZE product")
    statement = unknown_records._NEAR

    plan = await shop.sql(f"EXPLAIN {statement.sql}", *statement.arguments({"keys": near_keys("S-99x")}))

    assert "product_plain_sku_idx" in "\n".join(row[0] for row in plan)


async def test_the_other_skus_are_answered_where_one_is_unknown(shop: Retailer) -> None:
    request_ = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["MGU", "MUG", "VASE"])

    answer = await shop.availability.CheckAvailability(request_)

    assert [(x.sku, x.sellable_count) for x in answer.availabilities] == [("MUG", 5)]
    assert list(answer.unknown_skus) == ["MGU", "VASE"]


async def test_a_call_about_unknown_skus_only_answers_no_figure(shop: Retailer) -> None:
    request_ = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["VASE"])

    answer = await shop.availability.CheckAvailability(request_)

    assert (list(answer.availabilities), list(answer.unknown_skus)) == ([], ["VASE"])


async def test_an_unknown_channel_is_named_beside_the_known_ones(shop: Retailer) -> None:
    error = await refused(shop.allocate("A-1", {"MUG": 1}, channel_id="wbe"))

    assert error.is_(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "channel_id")
    assert error.message == "no channel 'wbe'; did you mean 'web'? If not, these are the channels: web"


async def test_an_unknown_pickup_location_is_named(shop: Retailer) -> None:
    fields: dict[str, Any] = {"method": order_pb2.FULFILLMENT_METHOD_PICKUP, "pickup_location_id": "nowhere"}

    error = await refused(shop.allocate("A-1", {"MUG": 1}, **fields))

    assert error.is_(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "pickup_location_id")


@pytest.mark.parametrize("units", [0, -1, 100_001, 2**31 - 1])
async def test_a_line_has_1_to_100000_units(shop: Retailer, units: int) -> None:
    error = await refused(shop.allocate("A-1", {"MUG": units}))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "lines[0].unit_count")
    assert "1 to 100,000" in error.message


async def test_501_lines_are_too_many(shop: Retailer) -> None:
    error = await refused(shop.allocate("A-1", [("MUG", 1)] * 501))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "lines")
    assert "501" in error.message


async def test_every_empty_field_is_named_at_once(shop: Retailer) -> None:
    empty = allocation_pb.AllocateOrderRequest(lines=[order_pb2.OrderLine()])

    error = await refused(shop.allocations.AllocateOrder(empty))

    assert error.fields == ["channel_id", "order_id", "lines[0].sku", "lines[0].unit_count", "commitment"]


async def test_two_lines_with_the_same_id_are_refused(shop: Retailer) -> None:
    line = order_pb2.OrderLine(line_id="x", sku="MUG", unit_count=1)
    request = allocation_pb.AllocateOrderRequest(channel_id="web", order_id="A", commitment=SOLD, lines=[line, line])

    error = await refused(shop.allocations.AllocateOrder(request))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "lines[1].line_id")


@pytest.mark.parametrize("duration", [timedelta(0), timedelta(hours=5), timedelta(seconds=-1)])
async def test_a_hold_lasts_from_one_second_to_four_hours(shop: Retailer, duration: timedelta) -> None:
    error = await refused(shop.allocate("A-1", {"MUG": 1}, HOLD, hold_duration=duration))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "hold_duration")


async def test_a_body_of_5_mb_is_refused_with_its_size(shop: Retailer) -> None:
    error = await refused(shop.allocate("A-1", {"M" * 5_000_000: 1}))

    assert error.is_(grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")
    assert "1,048,576" in error.message


async def test_a_request_id_that_is_not_a_uuid_is_refused(shop: Retailer) -> None:
    error = await refused(shop.allocate("A-1", {"MUG": 1}, request_id="retry-1"))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "request_id")


async def test_control_characters_are_refused_before_they_reach_the_database(shop: Retailer) -> None:
    error = await refused(shop.allocate("A-1\x00", {"MUG": 1}))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "order_id")


async def test_a_bad_order_does_not_affect_the_others_of_its_batch(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})

    bad, good = retailer.allocate("A-1", {"MGU": 1}, HOLD), retailer.allocate("A-2", {"MUG": 1})
    error = await refused(bad)

    assert error.reason == "NOT_FOUND"
    assert (await good).outcome == order_pb2.OUTCOME_ALLOCATED


async def test_a_reused_request_id_names_the_field_that_differs(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    same = request_id()
    await retailer.allocate("A-1", {"MUG": 1}, request_id=same)

    error = await refused(retailer.allocate("A-1", {"MUG": 2}, request_id=same))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED", "lines[0].unit_count")
    assert error.metadata == {"request_id": same, "differing_field": "lines[0].unit_count"}
    assert await retailer.sellable("MUG") == 4


async def test_a_request_id_belongs_to_one_method(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    same = request_id()
    held = await retailer.allocate("A-1", {"MUG": 1}, HOLD, request_id=same)

    error = await refused(retailer.release(held.allocation_id, request_id=same))

    assert error.reason == "REQUEST_ID_REUSED"
    assert await retailer.sellable("MUG") == 4


async def test_more_units_than_remain_are_not_cancelled(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    sold = await retailer.allocate("A-1", [("MUG", 2), ("MUG", 3)])

    error = await refused(retailer.cancel(sold.allocation_id, {"2": 1, "1": 3}))

    assert error.is_(grpc.StatusCode.FAILED_PRECONDITION, "TOO_MANY_UNITS")
    assert error.metadata == {"line_id": "1", "unit_count": "3", "remaining_count": "2"}
    assert (await retailer.get(sold.allocation_id)).allocation == sold


async def test_a_sold_order_cannot_be_released(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    sold = await retailer.allocate("A-1", {"MUG": 2})

    error = await refused(retailer.release(sold.allocation_id))

    assert error.is_(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert "CancelOrderLines" in error.message


async def test_a_released_hold_cannot_be_confirmed(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    held = await retailer.allocate("A-1", {"MUG": 2}, HOLD)
    await retailer.release(held.allocation_id)

    error = await refused(retailer.confirm(held.allocation_id))

    assert error.is_(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert await retailer.sellable("MUG") == 5


async def test_an_unknown_allocation_is_not_found(retailer: Retailer) -> None:
    for call in (retailer.confirm, retailer.release, retailer.get):
        error = await refused(call(request_id()))
        assert error.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (availability_pb.CheckAvailabilityRequest(channel_id="web"), "skus"),
        (availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["A"] * 2), "skus[1]"),
        (availability_pb.CheckAvailabilityRequest(channel_id="web", skus=map(str, range(501))), "skus"),
        (availability_pb.CheckAvailabilityRequest(channel_id="", skus=["MUG"]), "channel_id"),
        (
            availability_pb.CheckAvailabilityRequest(
                channel_id="web", skus=["MUG"], destination=order_pb2.Destination(country="usa")
            ),
            "destination.country",
        ),
    ],
)
async def test_a_malformed_availability_request_names_its_field(
    shop: Retailer, request_: availability_pb.CheckAvailabilityRequest, field: str
) -> None:
    error = await refused(shop.availability.CheckAvailability(request_))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "changes[0].change"),
        ({"count": stock_pb.StockCount(on_hand_count=-1)}, "changes[0].count.on_hand_count"),
        ({"count": stock_pb.StockCount(on_hand_count=2, unavailable_count=3)}, "changes[0].count.unavailable_count"),
        ({"movement": stock_pb.StockMovement(unit_count=1)}, "changes[0].movement.kind"),
        (
            {"movement": stock_pb.StockMovement(kind=stock_pb.MOVEMENT_KIND_SOLD, unit_count=-1)},
            "changes[0].movement.unit_count",
        ),
    ],
)
async def test_an_invalid_stock_change_is_refused(shop: Retailer, fields: dict[str, Any], field: str) -> None:
    error = await refused(shop.record(change("MUG", "dc", **fields)))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field)


async def test_one_bad_product_refuses_the_whole_call(shop: Retailer) -> None:
    products = [catalog_pb.Product(sku="CUP"), catalog_pb.Product(sku=" ")]

    error = await refused(shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products)))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "products[1].sku")
    assert not await shop.sql("SELECT FROM product WHERE sku = 'CUP'")


async def test_a_channel_sells_only_from_locations_that_exist(shop: Retailer) -> None:
    channel = catalog_pb.Channel(channel_id="pos", kind=catalog_pb.Channel.KIND_POS, location_ids=["dc", "moon"])

    error = await refused(shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel])))

    assert error.is_(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "channels[0].location_ids[1]")


@pytest.mark.parametrize(
    ("working_time", "field"),
    [
        (catalog_pb.WorkingTime(cut_off=TimeOfDay(hours=24)), "cut_off"),
        (catalog_pb.WorkingTime(opens=TimeOfDay(hours=9)), "closes"),
        (catalog_pb.WorkingTime(opens=TimeOfDay(hours=9), closes=TimeOfDay(hours=9)), "closes"),
        (catalog_pb.WorkingTime(holidays=[Date(year=2026, month=2, day=29)]), "holidays[0]"),
    ],
)
async def test_impossible_working_time_is_refused(
    shop: Retailer, working_time: catalog_pb.WorkingTime, field: str
) -> None:
    location = catalog_pb.Location(location_id="dc", type=catalog_pb.Location.TYPE_WAREHOUSE, working_time=working_time)

    error = await refused(shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=[location])))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", f"locations[0].working_time.{field}")


@pytest.mark.parametrize("token", ["!", "bm8ga2V5", "\x00"])
async def test_a_foreign_page_token_is_refused(shop: Retailer, token: str) -> None:
    request = stock_pb.ListStockLevelsRequest(page_token=token)

    error = await refused(shop.stock_service.ListStockLevels(request))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "page_token")


@pytest.mark.parametrize("list_name", ["shipments", "movements", "transfers", "exceptions"])
async def test_a_page_token_with_an_impossible_time_is_refused(shop: Retailer, list_name: str) -> None:
    calls: dict[str, tuple[Any, Any]] = {
        "shipments": (shop.fulfillment.ListShipments, fulfillment_pb.ListShipmentsRequest()),
        "movements": (shop.stock_service.ListStockMovements, stock_pb.ListStockMovementsRequest()),
        "transfers": (shop.stock_service.ListTransfers, stock_pb.ListTransfersRequest()),
        "exceptions": (shop.exceptions.ListExceptions, exception_pb.ListExceptionsRequest()),
    }
    call, request = calls[list_name]
    request.page_token = PageTokens(request).after("0001-01-01T00:00:00+14:00", "01890a5d-ac96-774b-bcce-b302099a8057")

    error = await refused(call(request))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "page_token")


class Refusal:
    """The error that a caller gets: the code, and everything in the details."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code = error.code()
        self.message = error.details() or ""
        metadata: Any = error.trailing_metadata()
        status = status_pb2.Status()
        status.ParseFromString(dict(metadata)["grpc-status-details-bin"])
        details = {detail.TypeName(): detail for detail in status.details}
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        details["google.rpc.ErrorInfo"].Unpack(info)
        if "google.rpc.BadRequest" in details:
            details["google.rpc.BadRequest"].Unpack(bad)
        assert info.domain == "truestock.v1"
        self.reason = info.reason
        self.metadata = dict(info.metadata)
        self.fields = [violation.field for violation in bad.field_violations]

    def is_(self, code: grpc.StatusCode, reason: str, *fields: str) -> bool:
        """Whether it is this error, with just these fields."""
        return (self.code, self.reason, self.fields) == (code, reason, list(fields))


async def refused(call: Awaitable[Any]) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return Refusal(raised.value)
