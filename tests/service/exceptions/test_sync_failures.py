"""What adapters report as failed, about orders too that have not arrived, and as working again."""

from __future__ import annotations

from typing import Any

import grpc

from tests.conftest import PLAIN_RULES
from tests.exception_shop import COMPLETED, Record, replica_on
from tests.retailer import Retailer, order_reference, refused, request_id
from truestock.v1 import exception_pb2, exception_service_pb2 as exception_pb

ORDER, FULFILLMENT = exception_pb2.SYNC_FAILURE_KIND_ORDER, exception_pb2.SYNC_FAILURE_KIND_FULFILLMENT


async def fail(shop: Retailer, **fields: Any) -> Record:
    request = exception_pb.ReportSyncFailureRequest(source="adapter", description="it did not work", **fields)
    raised: Record = (await shop.exceptions.ReportSyncFailure(request)).exception
    return raised


async def recover(shop: Retailer, **fields: Any) -> list[Record]:
    request = exception_pb.ReportSyncRecoveryRequest(source="adapter", **fields)
    return list((await shop.exceptions.ReportSyncRecovery(request)).exceptions)


async def test_a_failure_names_an_order_that_has_not_arrived_and_is_its_exception_later(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 10})
    reference = order_reference("web/A-1")
    raised = await fail(retailer, order=reference, kind=ORDER)
    again = await fail(retailer, order=reference, kind=ORDER)
    listed = await retailer.open_exceptions(order=reference)
    await retailer.allocate("A-1", {"MUG": 1})
    async with replica_on(retailer.database_url, PLAIN_RULES) as other_service:
        await other_service.sweep()
    arrived = await retailer.find_order("web/A-1")

    assert (raised.channel_id, raised.order_id, raised.sub_kind) == ("web", "A-1", "order")
    assert (raised.allocation_id, again.exception_id, again.repeat_count) == ("", raised.exception_id, 1)
    assert [x.exception_id for x in listed] == [raised.exception_id]
    assert [x.exception_id for x in arrived.exceptions] == [raised.exception_id]
    assert (arrived.allocation.needs_person, arrived.timeline[-1].event) == (True, "sync_failed")


async def test_recovery_resolves_the_failure_of_the_same_kind_and_order(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 10})
    await retailer.allocate("A-1", {"MUG": 1})
    first, second = order_reference("web/A-1"), order_reference("web/A-2")
    of_order = await fail(retailer, order=first, kind=ORDER)
    of_parcel = await fail(retailer, order=first, kind=FULFILLMENT)
    of_other = await fail(retailer, order=second, kind=FULFILLMENT)
    id = request_id()
    (recovered,) = await recover(retailer, order=first, kind=FULFILLMENT, request_id=id)

    assert recovered.exception_id == of_parcel.exception_id
    assert (recovered.state, recovered.resolution) == (Record.STATE_RESOLVED, COMPLETED)
    assert recovered.resolved_by == "policy"
    assert {x.exception_id for x in await retailer.open_exceptions()} == {of_order.exception_id, of_other.exception_id}
    assert "adapter reports that it works again." in (await retailer.find_order("web/A-1")).timeline[-1].description
    assert await recover(retailer, order=first, kind=FULFILLMENT, request_id=id) == [recovered]
    assert retailer.metric("exceptions_resolved_total", kind="sync_failed", resolution="completed") == 1


async def test_recovery_without_a_kind_resolves_failures_of_all_kinds(retailer: Retailer) -> None:
    order = order_reference("web/A-1")
    raised = [await fail(retailer, order=order, kind=kind) for kind in (0, ORDER, FULFILLMENT)]
    recovered = await recover(retailer, order=order)

    assert {x.exception_id for x in recovered} == {x.exception_id for x in raised}
    assert await retailer.open_exceptions() == []


async def test_recovery_of_what_never_failed_succeeds(retailer: Retailer) -> None:
    await fail(retailer, channel_id="web", sku="MUG")

    assert await recover(retailer, channel_id="web") == []
    assert await recover(retailer, order=order_reference("nowhere/A-1")) == []
    assert len(await recover(retailer, channel_id="web", sku="MUG")) == 1
    assert await recover(retailer, channel_id="web", sku="MUG") == []


async def test_a_recovery_that_cannot_be_is_refused(retailer: Retailer) -> None:
    error = await refused(recover(retailer, channel_id="other", order=order_reference("web/A-1"), kind=99))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "kind: 99 is not one of" in (error.details() or "")
