"""Invalid requests about exceptions get a clear error."""

from __future__ import annotations

import uuid
from pathlib import Path

import grpc
import pytest

from tests.conftest import RetailerMaker
from tests.exception_shop import (
    MAPPED,
    OTHER,
    assign,
    get_exception,
    write_rules,
)
from tests.retailer import Retailer
from tests.service.test_bad_input import refused
from truestock.v1 import (
    exception_service_pb2 as exception_pb,
)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return write_rules(tmp_path)


@pytest.fixture
async def shop(retailers: RetailerMaker, rules: Path) -> Retailer:
    """A shop with two mugs in its warehouse, and rules that assign exceptions to desks."""
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "dc"): 2})
    return shop


async def test_all_invalid_fields_of_a_list_are_reported_at_once(shop: Retailer) -> None:
    request = exception_pb.ListExceptionsRequest(
        states=[99],  # type: ignore[list-item]
        kinds=["oversold"],
        owners=[""],
        channel_ids=["x" * 65],
        allocation_id="1",
        page_size=-1,
        page_token="?",
    )

    error = await refused(shop.exceptions.ListExceptions(request))

    assert error.fields == [
        *("states", "kinds[0]", "owners[0]", "channel_ids[0]", "allocation_id", "page_size", "page_token"),
    ]
    assert "oversell, unfillable, held_by_buffer" in error.message


async def test_a_filter_of_101_desks_is_refused(shop: Retailer) -> None:
    error = await refused(shop.open_exceptions(owners=["desk"] * 101))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "owners")


async def test_all_invalid_fields_of_a_resolution_are_reported_at_once(shop: Retailer) -> None:
    request = exception_pb.ResolveExceptionRequest(exception_id="1", actor="policy", note="x" * 257, request_id="twice")

    error = await refused(shop.exceptions.ResolveException(request))
    without_note = await refused(shop.resolve(str(uuid.uuid4()), OTHER))

    assert error.fields == ["exception_id", "resolution", "actor", "note", "request_id"]
    assert without_note.fields == ["note"]


async def test_assignments_and_reports_need_an_actor_and_a_subject(shop: Retailer) -> None:
    assigned = await refused(shop.exceptions.AssignException(exception_pb.AssignExceptionRequest(owner=" ")))
    reported = await refused(shop.exceptions.ReportSyncFailure(exception_pb.ReportSyncFailureRequest()))

    assert assigned.fields == ["exception_id", "owner", "actor"]
    assert reported.fields == ["source", "description"]


async def test_an_unknown_exception_is_not_found(shop: Retailer) -> None:
    unknown = str(uuid.uuid4())

    for call in (get_exception(shop, unknown), assign(shop, unknown), shop.resolve(unknown, MAPPED)):
        error = await refused(call)
        assert error.is_(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "exception_id")
