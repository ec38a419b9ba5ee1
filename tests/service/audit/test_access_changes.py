"""A change of the access file says who came, went or got other rights, and gives away no token nor its digest."""

from __future__ import annotations

import json
from pathlib import Path

from service.audit.access_changes import access_changes, access_in_force
from service.audit.audit_log import AuditedChange
from service.auth.access_file import Access, read_access
from service.auth.tokens import digest_of
from tests.retailer import Retailer, eventually
from tests.service.auth.test_access import bearer, principal, served
from truestock.v1 import catalog_service_pb2 as catalog_pb

SERVICE = {"service": "a"}


def access_of(*principals: str) -> Access:
    return read_access("access.yaml", ("principals:\n" + "".join(principals)).encode())


def changes(before: Access | None, after: Access) -> list[AuditedChange]:
    return access_changes(before, after, SERVICE)


def test_added_removed_and_changed_principals_are_told_apart() -> None:
    before = access_of(principal("anna", "read, stock"), principal("ben", "read"), principal("till", "stock"))
    after = access_of(principal("anna", "admin"), principal("till", "stock"), principal("cleo", "read"))
    anna, ben, cleo = changes(before, after)

    assert (anna.entity_id, anna.change) == ("anna", "updated")
    assert (anna.before, anna.after) == ({"roles": ["read", "stock"]}, {"roles": ["admin"], **SERVICE})
    assert (ben.entity_id, ben.change, ben.after) == ("ben", "deleted", SERVICE)
    assert (cleo.entity_id, cleo.change, cleo.before) == ("cleo", "created", None)
    assert changes(after, after) == []
    assert [x.entity_id for x in changes(None, after)] == ["anna", "cleo", "till"]


def test_a_replaced_token_is_seen_and_nothing_shows_tokens_or_digests() -> None:
    before = access_of(principal("anna", "read"))
    after = access_of(principal("anna", "read").replace(digest_of("tst_anna").hex(), digest_of("tst_new").hex()))
    found = [*changes(before, after), *changes(None, after), access_in_force(after, SERVICE)]

    assert found[0].after == {"credentials": "replaced", **SERVICE}
    for secret in ("tst_anna", "tst_new"):
        assert digest_of(secret).hex() not in repr(found)
        assert secret not in repr(found)


def test_other_rights_have_another_fingerprint_and_other_tokens_have_not() -> None:
    first = access_in_force(access_of(principal("anna", "read")), SERVICE)
    other_roles = access_in_force(access_of(principal("anna", "admin")), SERVICE)

    assert first.after != other_roles.after
    assert first == access_in_force(access_of(principal("anna", "read")), SERVICE)


async def test_a_reloaded_access_file_and_calls_by_its_principals_are_kept(database_url: str, tmp_path: Path) -> None:
    access = tmp_path / "access.yaml"
    access.write_text(
        "principals:\n" + principal("anna", "catalog") + principal("desk", "catalog", on_behalf_of="true")
    )
    location = catalog_pb.Location(location_id="austin", type=catalog_pb.Location.TYPE_STORE)
    request = catalog_pb.UpsertLocationsRequest(locations=[location])
    async with served(database_url, access) as service, Retailer.connect(service, database_url) as shop:
        await shop.catalog.UpsertLocations(request, metadata=bearer("anna"))
        access.write_text("principals:\n" + principal("anna", "read"))

        async def is_written() -> bool:
            return len(await shop.sql("SELECT 1 FROM audit_event WHERE entity = 'principal'")) == 2

        await eventually(is_written)
        rows = await shop.sql("SELECT * FROM audit_event ORDER BY id")
        by_entity = {(row["entity"], row["entity_id"]): row for row in rows}

    upsert, anna = by_entity["location", "austin"], by_entity["principal", "anna"]
    assert (upsert["principal"], upsert["credential"], upsert["actor"]) == ("anna", "token", None)
    assert (anna["principal"], anna["credential"], anna["area"]) == ("truestock", "service", "access")
    assert json.loads(anna["before"])["roles"] == ["catalog"]
    assert by_entity["principal", "desk"]["change"] == "deleted"
