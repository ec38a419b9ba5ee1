"""What a shop's outlets and items are in Truestock: proposed where it is certain, and stored as people say."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.channels.adapter import ExternalItem, ExternalOutlet
from service.channels.mapping import Match, Proposal, item_proposals, outlet_proposals
from service.cli.files.mapping_file import read_mapping, write_proposals
from service.cli.spreadsheets.csv_table import CsvError


def item(item_id: str, sku: str, known: list[str], near: dict[str, str] | None = None) -> Proposal:
    return item_proposals([ExternalItem(item_id, sku)], {}, known, near or {})[0]


def test_an_item_with_the_sellers_sku_is_that_sku() -> None:
    proposal = item("1732301361504355959", "MUG", ["MUG", "TRAY"])

    assert (proposal.truestock_id, proposal.match) == ("MUG", Match.EXACT)


@pytest.mark.parametrize(
    ("sku", "near", "reason"),
    [
        ("mug", {"mug": "MUG"}, "no product has this SKU; is it MUG?"),
        ("VASE", {}, "no product has this SKU"),
        ("", {}, "the channel has no seller's SKU of it"),
    ],
)
def test_an_item_that_is_not_certain_is_left_to_a_person(sku: str, near: dict[str, str], reason: str) -> None:
    proposal = item("1", sku, ["MUG"], near)

    assert (proposal.truestock_id, proposal.match, proposal.reason) == ("", Match.NONE, reason)


def test_what_is_mapped_stays_as_it_is() -> None:
    (proposal,) = item_proposals([ExternalItem("1", "MUG")], {"1": ("MUG-CASE", 6)}, ["MUG"], {})

    assert (proposal.truestock_id, proposal.unit_count, proposal.match) == ("MUG-CASE", 6, Match.MAPPED)


def test_a_warehouse_with_the_name_of_one_location_is_it_and_of_two_is_nobodys_guess() -> None:
    outlets = [ExternalOutlet("1", "Dallas"), ExternalOutlet("2", "Store"), ExternalOutlet("3", "Moon")]
    names = {"Dallas": ["dc-dallas"], "Store": ["store-a", "store-b"]}

    dallas, store, moon = outlet_proposals(outlets, {}, names)

    assert (dallas.truestock_id, dallas.match) == ("dc-dallas", Match.EXACT)
    assert (store.truestock_id, store.reason) == ("", "more than one location has this name: store-a, store-b")
    assert (moon.truestock_id, moon.match) == ("", Match.NONE)


def test_a_file_of_proposals_is_read_back_as_people_filled_it_in(tmp_path: Path) -> None:
    proposals = [
        Proposal("outlet", "7272949914115966726", "=Dallas", "pool:stores", 1, Match.NONE, ""),
        Proposal("item", "1732301361504355959", "MUG-6", "MUG", 6, Match.NONE, ""),
        Proposal("item", "1732301361504355960", "VASE", "", 1, Match.NONE, "no product has this SKU"),
    ]
    file = tmp_path / "map.csv"
    with file.open("w") as stream:
        write_proposals(stream, proposals)

    outlets, listings = read_mapping(file, "tiktok_shop")

    assert [(outlet.outlet_id, outlet.pool_id) for outlet in outlets] == [("7272949914115966726", "stores")]
    assert [(listing.item_id, listing.sku, listing.unit_count) for listing in listings] == [
        ("1732301361504355959", "MUG", 6)
    ]
    # A spreadsheet would compute what begins with =.
    assert "'=Dallas" in file.read_text()


def test_a_mistake_in_the_file_has_its_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "map.csv"
    file.write_text("what,external_id,truestock_id,unit_count\nitem,1,MUG,many\nthing,2,TRAY,1\n")

    with pytest.raises(CsvError) as caught:
        read_mapping(file, "tiktok_shop")

    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(2, 4), (3, 1)]
