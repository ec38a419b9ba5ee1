"""A database that cannot be used any more: callers may retry, and the log has one line a minute about it."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from structlog.testing import capture_logs

from tests.retailer import Retailer, refused

ERRORS = ("58P01", "58030", "XX001", "XX000", "3D000", "28000", "42501")
"""Missing and unreadable files, damaged data, a dropped database, and rights that were taken away."""


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 100})
    return retailer


def reason(error: grpc.aio.AioRpcError) -> str:
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    assert any(detail.Unpack(info) for detail in status.details)
    return str(info.reason)


async def test_calls_that_a_damaged_database_fails_are_one_line_without_a_traceback(shop: Retailer) -> None:
    await shop.sql(
        "CREATE FUNCTION broken() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'injected' "
        "USING ERRCODE = new.order_id; END $$ LANGUAGE plpgsql"
    )
    await shop.sql("CREATE TRIGGER broken BEFORE INSERT ON allocation FOR EACH ROW EXECUTE FUNCTION broken()")

    with capture_logs() as lines:
        errors = [await refused(shop.allocate(errcode, {"MUG": 1})) for errcode in ERRORS]

    assert {(error.code(), reason(error)) for error in errors} == {(grpc.StatusCode.UNAVAILABLE, "NOT_READY")}
    assert "the log of the service says why" in str(errors[0].details())
    [line] = lines
    assert (line["event"], line["error"]) == ("the database does not answer", "UndefinedFileError: injected")
    assert "exc_info" not in line


async def test_a_defect_is_no_lost_database(shop: Retailer) -> None:
    await shop.sql("CREATE FUNCTION broken() RETURNS trigger AS 'BEGIN RAISE division_by_zero; END' LANGUAGE plpgsql")
    await shop.sql("CREATE TRIGGER broken BEFORE INSERT ON allocation FOR EACH ROW EXECUTE FUNCTION broken()")

    with capture_logs() as lines:
        error = await refused(shop.allocate("A-1", {"MUG": 1}))

    assert (error.code(), reason(error)) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert any(line.get("exc_info") for line in lines)


@pytest.mark.long
async def test_periodic_work_without_its_tables_is_one_line(shop: Retailer) -> None:
    with capture_logs() as lines:
        await shop.sql("ALTER SCHEMA public RENAME TO restored")
        await asyncio.sleep(4)
        error = await refused(shop.sellable("MUG"))
        await shop.sql("ALTER SCHEMA restored RENAME TO public")
        await asyncio.sleep(0.1)

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert await shop.sellable("MUG") == 100
    [line] = lines
    assert (line["event"], line["times"]) == ("the database does not answer", 1)
