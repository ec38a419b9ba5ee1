"""FindIds: parts of ids among the newest ones, within bounds."""

from __future__ import annotations

import grpc

from service import limits
from tests.retailer import Retailer
from tests.service.test_bad_input import refused
from truestock.v1 import allocation_service_pb2 as allocation_pb

Kind = allocation_pb.FindIdsRequest


async def test_a_part_of_an_id_is_a_uuids_and_says_what_it_is_of(retailer: Retailer) -> None:
    for request in (
        Kind(text="abcdef12"),
        Kind(kind=Kind.KIND_SHIPMENT, text="abcde"),
        Kind(kind=Kind.KIND_DECISION, text="shopify/1"),
        Kind(kind=Kind.KIND_ALLOCATION, text=""),
        Kind(kind=Kind.KIND_TRANSFER, text="T" * 129),
    ):
        refusal = await refused(retailer.allocations.FindIds(request))
        field = "text" if request.kind else "kind"
        assert refusal.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field), request


async def test_at_most_ten_are_listed_the_newest_first(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 50})
    orders = [await retailer.allocate(f"A-{number}", {"MUG": 1}) for number in range(limits.FOUND_IDS + 1)]
    request = Kind(kind=Kind.KIND_ALLOCATION, text=orders[0].allocation_id[:7])

    found = await retailer.allocations.FindIds(request)

    assert [entry.description for entry in found.ids] == [f"web/{order.order_id}" for order in orders[:0:-1]]
    assert found.more
