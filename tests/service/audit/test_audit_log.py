"""Who changed what is kept with the change, sealed within seconds, and nobody can change it unnoticed."""

from __future__ import annotations

import json

import asyncpg
import pytest

from service.audit.audit_log import VALUES_LENGTH, bounded_json
from service.audit.origin import peer_address
from tests.retailer import Retailer
from tests.service.audit.log import all_sealed, checked, events
from truestock.v1 import catalog_service_pb2 as catalog_pb

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
