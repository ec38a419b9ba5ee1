"""Who changed what is kept with the change, sealed within seconds, and nobody can change it unnoticed."""

from __future__ import annotations

import json

import asyncpg
import pytest

from service.audit.audit_log import VALUES_LENGTH, bounded_json
from service.audit.origin import peer_address
from tests.retailer import Retailer, change, movement
from tests.service.audit.log import all_sealed, checked, events
from truestock.v1 import (
    catalog_service_pb2 as catalog_pb,
    exception_service_pb2 as exception_pb,
    stock_service_pb2 as stock_pb,
)
from truestock.v1.exception_pb2 import ExceptionResolution

Location = catalog_pb.Location


async def open_store(shop: Retailer, **fields: object) -> None:
    location = Location(location_id="austin", type=Location.TYPE_STORE, **fields)  # type: ignore[arg-type]
    await shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=[location]))


async def test_a_change_of_the_catalog_says_who_changed_what_from_where(retailer: Retailer) -> None:
    await open_store(retailer, status=Location.STATUS_OPEN, priority=1)
    await open_store(retailer, status=Location.STATUS_PAUSED, priority=1)
    await open_store(retailer, status=Location.STATUS_PAUSED, priority=1)

    created, updated = await events(retailer, "austin")
    assert (created["principal"], created["credential"], created["rpc"]) == ("local", "none", "UpsertLocations")
    assert created["peer"].startswith("127.0.0.1:")
    assert (created["area"], created["entity"], created["change"]) == ("catalog", "location", "created")
    assert created["before"] is None
    assert json.loads(created["after"])["status"] == "open"
    assert updated["change"] == "updated"
    assert json.loads(updated["before"]) == {"status": "open"}
    assert json.loads(updated["after"]) == {"status": "paused"}


async def test_events_only_grow_and_every_edit_of_a_sealed_one_is_found(retailer: Retailer) -> None:
    await open_store(retailer)
    await all_sealed(retailer)
    for statement in (
        "UPDATE audit_event SET principal = 'nobody'",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event",
        "UPDATE audit_seal SET hash = ''",
        "DELETE FROM audit_seal",
        "TRUNCATE audit_seal, audit_anchor",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only grows"):
            await retailer.sql(statement)
    whole = await checked(retailer.database_url)
    (event,) = await events(retailer, "austin")
    # The owner of the tables can switch triggers off.
    await retailer.sql("ALTER TABLE audit_event DISABLE TRIGGER ALL")
    await retailer.sql("UPDATE audit_event SET principal = 'nobody' WHERE id = $1", event["id"])

    assert (whole.problem, whole.unsealed_count) == ("", 0)
    assert f"event {event['id']} (seal " in (await checked(retailer.database_url)).problem


def test_what_an_event_keeps_is_bounded() -> None:
    kept = json.loads(bounded_json({"long": "x" * 10_000, **{f"name{i:03}": "y" * 100 for i in range(100)}}) or "")

    assert kept["long"] == "(10,002 characters)"
    assert kept["omitted"] == 101 - (len(kept) - 1)
    assert len(json.dumps(kept)) < 1.5 * VALUES_LENGTH


def test_addresses_of_callers_are_read_as_people_write_them() -> None:
    assert peer_address("ipv4:10.1.2.3:40422") == "10.1.2.3:40422"
    assert peer_address("ipv6:%5B::1%5D:40422") == "[::1]:40422"
    assert peer_address("unix:/run/truestock.sock") == "unix:/run/truestock.sock"


def summary(event: asyncpg.Record) -> tuple[object, ...]:
    """What happened, as (change, values before, values after); without times."""
    values = [json.loads(event[name]) if event[name] else None for name in ("before", "after")]
    for value in values:
        (value or {}).pop("effective_time", None)
    return event["change"], *values


async def test_counts_and_corrections_by_people_are_kept_and_sales_of_tills_are_not(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    await retailer.record(
        change("MUG", "dc", movement=movement(stock_pb.MOVEMENT_KIND_DAMAGED, 2)),
        change("MUG", "dc", movement=movement(stock_pb.MOVEMENT_KIND_SOLD, 1)),
        change("MUG", "dc", count=stock_pb.StockCount(on_hand_count=9, computed=True)),
    )
    await retailer.count({("MUG", "dc"): 3}, source="stocktake")
    await retailer.allocate("A-1", {"MUG": 1})

    first, damaged, counted = await events(retailer, "MUG/dc")
    assert (first["area"], first["entity"], first["rpc"]) == ("stock", "stock_level", "RecordStockChanges")
    _, before, after = summary(damaged)
    assert (damaged["change"], before) == ("damaged", {"on_hand": 5, "unavailable": 0})
    assert (after["on_hand"], after["moved"], after["source"]) == (3, 2, "counter")  # type: ignore[index]
    _, before, after = summary(counted)
    assert (counted["change"], before["on_hand"], after["counted"]) == ("counted", 9, 3)  # type: ignore[index]


async def test_each_step_of_a_transfer_is_kept(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5, ("MUG", "store"): 0})
    units = [stock_pb.TransferUnits(sku="MUG", unit_count=2)]
    sent = stock_pb.TransferDispatch(from_location_id="dc", to_location_id="store", units=units)
    for step in ({"dispatch": sent}, {"dispatch": sent}, {"receipt": stock_pb.TransferReceipt(units=units)}):
        await retailer.stock_service.TransferStock(stock_pb.TransferStockRequest(transfer_id="T-1", **step))

    dispatched, received = [summary(event) for event in await events(retailer, "T-1")]
    assert (dispatched[0], dispatched[1]) == ("dispatched", None)
    assert (received[0], received[1]["received"], received[2]["received"]) == ("received", {"MUG": 0}, {"MUG": 2})  # type: ignore[index]


async def test_who_claims_and_resolves_an_exception_is_kept_without_the_note(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 1})
    await retailer.allocate("A-1", {"MUG": 2})
    raised = (await retailer.open_exceptions())[0]
    assignment = exception_pb.AssignExceptionRequest(
        exception_id=raised.exception_id,
        assignee="anna",
        actor="ben",
        request_id="0190a6a2-7a3c-7c1e-9d7e-0242ac120002",
    )
    for _ in range(2):
        await retailer.exceptions.AssignException(assignment)
    await retailer.resolve(raised.exception_id, ExceptionResolution.EXCEPTION_RESOLUTION_CANCELLED, note="She called.")

    assigned, resolved = await events(retailer, raised.exception_id)
    assert (assigned["principal"], assigned["actor"], assigned["request_id"]) == ("local", "ben", assignment.request_id)
    assert (assigned["area"], assigned["entity"], assigned["change"]) == ("exceptions", "exception", "assigned")
    assert json.loads(assigned["after"])["assignee"] == "anna"
    assert (summary(resolved)[1]["state"], summary(resolved)[2]["state"]) == ("open", "resolved")  # type: ignore[index]
    assert "She called." not in str([dict(event) for event in (assigned, resolved)])


async def test_rules_in_force_and_access_at_a_start_are_kept(retailer: Retailer) -> None:
    (rules,) = await retailer.sql("SELECT * FROM audit_event WHERE entity = 'policy_revision'")
    (access,) = await retailer.sql("SELECT * FROM audit_event WHERE entity = 'access_file'")

    assert (rules["principal"], rules["credential"], rules["change"]) == ("truestock", "service", "started")
    assert rules["entity_id"] == retailer.service.policy_revision
    assert json.loads(access["after"])["principals"] == "everybody may do everything"
