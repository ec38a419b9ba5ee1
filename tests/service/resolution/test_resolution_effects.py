"""What an exception's resolutions would do is told before, and is what they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.conftest import RetailerMaker
from tests.exception_shop import (
    APPROVED,
    BACKORDERED,
    CANCELLED,
    REROUTED,
    get_exception,
    oversold,
    receive,
    report_failure,
    write_rules,
)
from tests.retailer import Retailer, refused
from truestock.v1 import exception_pb2, exception_service_pb2 as exception_pb, order_pb2

Effect = exception_pb2.ResolutionEffect
Place = exception_pb2.UnitMove.Place
STOCK_CORRECTED = exception_pb2.EXCEPTION_RESOLUTION_STOCK_CORRECTED
OTHER, MAPPED = exception_pb2.EXCEPTION_RESOLUTION_OTHER, exception_pb2.EXCEPTION_RESOLUTION_MAPPED


@pytest.fixture
async def shop(retailers: RetailerMaker, tmp_path: Path) -> Retailer:
    """A shop with 3 mugs, whose exceptions wait for a desk."""
    made = await retailers.make(rules=write_rules(tmp_path))
    await made.stock({("MUG", "dc"): 3, ("MUG", "north"): 0})
    return made


async def resolve(shop: Retailer, id: str, resolution: Any, **fields: Any) -> exception_pb.ResolveExceptionResponse:
    request = exception_pb.ResolveExceptionRequest(exception_id=id, resolution=resolution, actor="anna", **fields)
    response: exception_pb.ResolveExceptionResponse = await shop.exceptions.ResolveException(request)
    return response


def moves(effect: Effect) -> list[tuple[int, str, str]]:
    """Units, and where they are and will be: a location, or a word."""
    return [
        (
            move.unit_count,
            move.from_location_id or Place.Name(getattr(move, "from")),
            move.to_location_id or Place.Name(move.to),
        )
        for move in effect.moves
    ]


def stock(effect: Effect) -> list[tuple[str, str, int]]:
    return [(x.sku, x.location_id, x.allocated_change) for x in effect.stock]


async def test_an_open_exception_tells_what_each_of_its_resolutions_would_do(shop: Retailer) -> None:
    _, raised = await oversold(shop, units=5)
    before = {x.resolution: x for x in (await get_exception(shop, raised.exception_id)).resolutions}
    await receive(shop, 9, "north")
    after = {x.resolution: x for x in (await get_exception(shop, raised.exception_id)).resolutions}

    assert list(after) == list(raised.allowed_resolutions)
    assert moves(after[CANCELLED]) == [(2, "PLACE_SHORT", "PLACE_CANCELLED")]
    assert (moves(after[BACKORDERED]), stock(after[BACKORDERED])) == ([(2, "PLACE_SHORT", "PLACE_BACKORDERED")], [])
    assert "2 units of 2 cannot be allocated elsewhere; backorder or cancel them" in before[REROUTED].problem
    assert (moves(after[REROUTED]), stock(after[REROUTED])) == ([(2, "PLACE_SHORT", "north")], [("MUG", "north", 2)])
    assert after[REROUTED].status == order_pb2.ORDER_STATUS_READY_TO_FULFILL
    assert (moves(after[STOCK_CORRECTED]), after[STOCK_CORRECTED].status) == ([], 0)
    assert [x.resolution for x in after.values() if x.needs_note] == [OTHER]


@pytest.mark.parametrize("resolution", [REROUTED, BACKORDERED, CANCELLED, STOCK_CORRECTED])
async def test_a_resolution_does_what_validate_only_tells(shop: Retailer, resolution: Any) -> None:
    sold, raised = await oversold(shop, units=5)
    await receive(shop, 9, "north")
    dump = "SELECT to_jsonb(x) FROM {} AS x ORDER BY to_jsonb(x)::text"
    tables = ("allocation", "promise", "stock_level", "exception", "exception_event", "order_event", "request")
    rows = [await shop.sql(dump.format(table)) for table in tables]

    told = await resolve(shop, raised.exception_id, resolution, validate_only=True, request_id=sold.allocation_id)

    assert [await shop.sql(dump.format(table)) for table in tables] == rows
    assert told.exception.state == exception_pb2.ExceptionRecord.STATE_OPEN
    done = await resolve(shop, raised.exception_id, resolution, request_id=sold.allocation_id)
    assert done.effect == told.effect
    assert done.exception.state == exception_pb2.ExceptionRecord.STATE_RESOLVED
    assert not done.exception.allowed_resolutions
    order = (await shop.get(sold.allocation_id)).allocation
    assert told.effect.status in (0, order.status)
    assert not (await get_exception(shop, raised.exception_id)).resolutions


async def test_validate_only_gets_the_error_that_the_resolution_would_get(shop: Retailer) -> None:
    _, raised = await oversold(shop, units=5)
    cases = [(REROUTED, "WRONG_STATE"), (APPROVED, "INVALID_FIELD"), (OTHER, "INVALID_FIELD")]
    for resolution, reason in cases:
        errors = [
            await refused(resolve(shop, raised.exception_id, resolution, validate_only=only)) for only in (True, False)
        ]

        assert errors[0].details() == errors[1].details()
        assert reason in str(errors[0].trailing_metadata())
    await resolve(shop, raised.exception_id, CANCELLED)
    late = await refused(resolve(shop, raised.exception_id, CANCELLED, validate_only=True))
    unknown = await refused(resolve(shop, raised.exception_id[:-1] + "0", CANCELLED, validate_only=True))

    assert "already resolved as cancelled by anna" in (late.details() or "")
    assert unknown.code() == grpc.StatusCode.NOT_FOUND


async def test_an_approved_review_moves_no_unit_and_a_cancelled_one_gives_its_stock_back(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 2}, tags=["urgent"])
    (raised,) = (await shop.get(sold.allocation_id)).exceptions
    effects = {x.resolution: x for x in (await get_exception(shop, raised.exception_id)).resolutions}

    assert (moves(effects[APPROVED]), stock(effects[APPROVED])) == ([], [])
    assert effects[APPROVED].status == order_pb2.ORDER_STATUS_READY_TO_FULFILL
    assert moves(effects[CANCELLED]) == [(2, "dc", "PLACE_CANCELLED")]
    assert stock(effects[CANCELLED]) == [("MUG", "dc", -2)]
    assert effects[CANCELLED].outcome == order_pb2.OUTCOME_ENDED


async def test_resolutions_of_an_exception_without_an_order_change_nothing(shop: Retailer) -> None:
    raised = await report_failure(shop)
    effects = (await get_exception(shop, raised.exception_id)).resolutions

    assert MAPPED in [x.resolution for x in effects]
    assert all(not x.moves and not x.stock and not x.problem and x.description for x in effects)
