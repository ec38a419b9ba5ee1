"""The audit log is listed newest first, by who, what and which call, page by page, to administrators only."""

from __future__ import annotations

from typing import Any

import grpc

from tests.retailer import Retailer
from tests.service.test_bad_input import refused
from truestock.v1 import audit_service_pb2 as audit_pb

Credential = audit_pb.AuditEvent.Credential


async def listed(shop: Retailer, **filters: Any) -> audit_pb.ListAuditEventsResponse:
    answer: audit_pb.ListAuditEventsResponse = await shop.audit.ListAuditEvents(
        audit_pb.ListAuditEventsRequest(**filters)
    )
    return answer


async def test_events_are_found_by_thing_caller_call_area_and_time(retailer: Retailer) -> None:
    await retailer.locations("austin", "boston")
    await retailer.stock({("MUG", "austin"): 3})
    everything = (await listed(retailer)).events
    (location,) = (await listed(retailer, entity_ids=["boston"])).events
    counted = (await listed(retailer, areas=["stock"], principals=["local"])).events
    upserts = (await listed(retailer, rpcs=["UpsertLocations"], entities=["location"])).events
    service = (await listed(retailer, principals=["truestock"])).events
    older = (await listed(retailer, until_time=location.event_time)).events

    assert (location.principal, location.credential) == ("local", Credential.CREDENTIAL_NONE)
    assert (location.area, location.entity, location.change) == ("catalog", "location", "created")
    assert '"type": "warehouse"' in location.after_json
    assert location.before_json == ""
    assert [(x.entity, x.entity_id, x.change) for x in counted] == [("stock_level", "MUG/austin", "counted")]
    assert {"austin", "boston"} <= {x.entity_id for x in upserts}
    assert {x.credential for x in service} == {Credential.CREDENTIAL_SERVICE}
    assert [x.event_number for x in everything] == sorted((x.event_number for x in everything), reverse=True)
    assert [x for x in everything if x.event_number < location.event_number][: len(older)] == list(older)


async def test_pages_have_every_event_once_and_bad_filters_are_refused(retailer: Retailer) -> None:
    await retailer.locations(*(f"store-{number}" for number in range(7)))
    found: list[audit_pb.AuditEvent] = []
    token = ""
    while True:
        page = await listed(retailer, areas=["catalog"], page_size=3, page_token=token)
        found += page.events
        token = page.next_page_token
        if not token:
            break
    numbers = [event.event_number for event in found]
    error = await refused(listed(retailer, areas=["orders"], page_size=-1))

    assert len(numbers) == len(set(numbers)) == len((await listed(retailer, areas=["catalog"])).events) > 7
    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "areas[0]", "page_size")
