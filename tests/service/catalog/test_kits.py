"""Kits: of which components each product consists, as upserted, listed and deleted."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from service import limits
from tests.retailer import Retailer, kit_of, refused
from truestock.v1 import catalog_history_pb2 as history_pb, catalog_service_pb2 as catalog_pb, kit_pb2


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 20, ("BOWL", "dc"): 9, ("TRAY", "dc"): 5})
    products = [catalog_pb.Product(sku=sku) for sku in ("SET", "GIFT")]
    await retailer.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products))
    return retailer


async def listed(shop: Retailer, **filters: Any) -> list[kit_pb2.Kit]:
    return list((await shop.catalog.ListKits(kit_pb2.ListKitsRequest(**filters))).kits)


async def test_kits_are_listed_by_sku_and_by_every_filter(shop: Retailer) -> None:
    gift, breakfast = kit_of("GIFT", {"TRAY": 1, "MUG": 2}, may_split=True), kit_of("SET", {"MUG": 4, "BOWL": 4})
    await shop.upsert_kits(breakfast, gift)

    assert await listed(shop) == [gift, breakfast]
    assert await listed(shop, skus=["SET", "NONE"]) == [breakfast]
    assert await listed(shop, component_skus=["MUG"]) == [gift, breakfast]
    assert await listed(shop, component_skus=["BOWL", "NONE"], skus=["GIFT"]) == []


async def test_a_component_without_a_count_is_one_unit_and_the_order_of_components_is_kept(shop: Retailer) -> None:
    await shop.upsert_kits(kit_of("SET", {"TRAY": 0, "MUG": 3, "BOWL": 1}))

    (kit,) = await listed(shop)
    assert [(x.sku, x.unit_count) for x in kit.components] == [("TRAY", 1), ("MUG", 3), ("BOWL", 1)]


async def test_an_upsert_replaces_a_kit_and_a_dry_run_changes_nothing(shop: Retailer) -> None:
    created = await shop.upsert_kits(kit_of("SET", {"MUG": 1}))
    checked = await shop.upsert_kits(kit_of("SET", {"BOWL": 1}), kit_of("GIFT", {"BOWL": 1}), validate_only=True)
    before = await listed(shop)
    updated = await shop.upsert_kits(kit_of("SET", {"BOWL": 2}))

    assert (created.created_count, created.updated_count) == (1, 0)
    assert (checked.created_count, checked.updated_count) == (1, 1)
    assert before == [kit_of("SET", {"MUG": 1})]
    assert (updated.created_count, updated.updated_count) == (0, 1)
    assert await listed(shop) == [kit_of("SET", {"BOWL": 2})]


async def test_unknown_skus_are_named_each_with_the_one_that_was_meant(shop: Retailer) -> None:
    error = await refused(shop.upsert_kits(kit_of("SET", {"MUG": 1, "BOWLS": 1}), kit_of("NEW", {"MUG": 1})))

    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert "kits[0].components[1].sku" in str(error.details()) or "BOWLS" in str(error.details())
    assert "'BOWL'" in str(error.details())
    assert await listed(shop) == []


@pytest.mark.parametrize(
    ("kit", "problem"),
    [
        (kit_of("SET", {}), "must not be empty"),
        (kit_of("SET", {"SET": 1}), "is the kit itself"),
        (kit_of("SET", {"MUG": -1}), "it must be 1 to 100"),
        (kit_of("SET", {"MUG": 101}), "it must be 1 to 100"),
        (kit_of("", {"MUG": 1}), "must not be empty"),
        (kit_of("SET", {"": 1}), "must not be empty"),
        (kit_of("SET", {f"P{n}": 1 for n in range(21)}), "1 to 20 are allowed"),
        (kit_pb2.Kit(sku="SET", components=[kit_pb2.KitComponent(sku="MUG")] * 2), "add up their units"),
    ],
)
async def test_a_kit_out_of_bounds_is_refused(shop: Retailer, kit: kit_pb2.Kit, problem: str) -> None:
    error = await refused(shop.upsert_kits(kit))

    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert problem in str(error.details())


@pytest.mark.parametrize(
    "kits",
    [
        [kit_of("GIFT", {"SET": 1})],  # a component that is a kit
        [kit_of("MUG", {"TRAY": 1})],  # a component that would become one
        [kit_of("GIFT", {"BOWL": 1}), kit_of("BOWL", {"TRAY": 1})],  # both in one call
        [kit_of("GIFT", {"BOWL": 1}), kit_of("BOWL", {"GIFT": 1})],  # a circle
    ],
)
async def test_no_kit_is_a_component_of_a_kit(shop: Retailer, kits: list[kit_pb2.Kit]) -> None:
    await shop.upsert_kits(kit_of("SET", {"MUG": 1}))

    error = await refused(shop.upsert_kits(*kits))

    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "which is a kit too" in str(error.details())
    assert await listed(shop) == [kit_of("SET", {"MUG": 1})]


async def test_a_kit_that_is_no_component_any_more_may_be_one(shop: Retailer) -> None:
    await shop.upsert_kits(kit_of("SET", {"MUG": 1}))

    await shop.upsert_kits(kit_of("SET", {"TRAY": 1}), kit_of("MUG", {"BOWL": 1}))

    assert [kit.sku for kit in await listed(shop)] == ["MUG", "SET"]


async def test_the_catalog_takes_no_more_kits_than_its_limit(shop: Retailer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KITS", 1)
    await shop.upsert_kits(kit_of("SET", {"MUG": 1}))

    error = await refused(shop.upsert_kits(kit_of("GIFT", {"MUG": 1})))
    await shop.upsert_kits(kit_of("SET", {"MUG": 2}))

    assert "at most 1 are allowed" in str(error.details())
    assert [kit.sku for kit in await listed(shop)] == ["SET"]


async def test_a_deleted_kit_is_a_product_again(shop: Retailer) -> None:
    kit = kit_of("SET", {"MUG": 1})
    await shop.upsert_kits(kit)
    kits = await shop.sellable("SET")
    await shop.list_item("web", "1", "SET")

    looked = await shop.catalog.DeleteKit(kit_pb2.DeleteKitRequest(sku="SET", validate_only=True))
    still = await listed(shop)
    deleted = await shop.catalog.DeleteKit(kit_pb2.DeleteKitRequest(sku="SET"))
    again = await refused(shop.catalog.DeleteKit(kit_pb2.DeleteKitRequest(sku="SET")))

    assert (looked, still) == (kit_pb2.DeleteKitResponse(kit=kit, listing_count=1), [kit])
    assert deleted == looked
    assert again.code() == grpc.StatusCode.NOT_FOUND
    assert (kits, await shop.sellable("SET")) == (20, 0)


async def test_another_service_sees_an_edited_kit_at_once(retailers: Any) -> None:
    first, second = await retailers.make(), await retailers.make()
    await first.stock({("MUG", "dc"): 20, ("BOWL", "dc"): 9})
    await first.kits({"SET": {"MUG": 1, "BOWL": 2}})
    before = await second.sellable("SET")

    await first.kits({"SET": {"MUG": 10}})

    assert (before, await second.sellable("SET")) == (4, 2)


async def test_every_change_of_a_kit_is_kept(shop: Retailer) -> None:
    await shop.upsert_kits(kit_of("SET", {"MUG": 1}))
    await shop.upsert_kits(kit_of("SET", {"MUG": 1}))
    await shop.upsert_kits(kit_of("SET", {"MUG": 2}))
    await shop.catalog.DeleteKit(kit_pb2.DeleteKitRequest(sku="SET"))

    request = history_pb.ListCatalogHistoryRequest(kinds=["kit"], record_ids=["SET"])
    changes = (await shop.catalog.ListCatalogHistory(request)).changes

    assert [change.call for change in changes] == ["DeleteKit", "UpsertKits", "UpsertKits"]
    assert [(x.field, x.before, x.after) for x in changes[1].fields] == [("component_units", "[1]", "[2]")]
