"""The names that a person probably meant."""

from __future__ import annotations

import pytest

from policies.domain.near_names import near_by_keys, near_keys, near_name, plain_key

SKUS = ("0042", "042X", "MUG", "TRN-1205-MOS", "trn-1205-cre", "7")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("42", "0042"),
        ("00042", "0042"),
        ("42x", "042X"),
        ("mug", "MUG"),
        ("TRN-1205-M0S", "TRN-1205-MOS"),
        ("TRN-125-MOS", "TRN-1205-MOS"),
        ("TRN-12005-MOS", "TRN-1205-MOS"),
        ("TRN-1250-MOS", "TRN-1205-MOS"),
        ("TRN-1205-CRE", "trn-1205-cre"),
        ("07", "7"),
        ("8", None),
        ("VASE", None),
        ("TRN-12-MOS-X", None),
    ],
)
def test_a_sku_is_found_in_an_index_of_plain_keys(written: str, meant: str | None) -> None:
    found = [sku for sku in SKUS if plain_key(sku) in near_keys(written)]

    assert near_by_keys([written], found) == ({written: meant} if meant else {})


def test_a_place_is_known_by_a_part_of_its_id() -> None:
    assert near_name("denver", ["store-austin", "store-denver", "dc-memphis"]) == "store-denver"
    assert near_name("Store-Denver", ["store-denver"]) == "store-denver"
    assert near_name("lagos", ["store-austin", "store-denver"]) is None


def test_of_several_with_the_same_key_the_closest_is_meant() -> None:
    assert near_name("00042", ["42", "0042", "042"]) == "0042"


def test_the_longest_sku_has_no_more_keys_than_an_index_can_look_up() -> None:
    assert len(near_keys("abcdefgh" * 8)) < 6_000


KNOWN = ("tiktok_shop", "shopify", "store-denver", "dc-memphis", "0042", "CO", "CA", "TX", "Lanterns", "BB-200")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("tiktok", "tiktok_shop"),
        ("Shopify", "shopify"),
        ("DC Memphis", "dc-memphis"),
        ("denver", "store-denver"),
        ("42", "0042"),
        ("000042", "0042"),
        ("Colorado", "CO"),
        ("Texas", "TX"),
        ("lantern", "Lanterns"),
        ("bb200", "BB-200"),
        ("warehouse", None),
        ("", None),
    ],
)
def test_the_nearest_name_is_found_as_people_misspell_it(word: str, expected: str | None) -> None:
    assert near_name(word, KNOWN) == expected


def test_letters_of_a_short_name_that_changed_places_are_seen_among_many_names() -> None:
    assert near_name("wbe", [*(f"store-{number}" for number in range(100)), "web", "pos"]) == "web"


def test_an_abbreviation_that_could_be_several_is_none() -> None:
    assert near_name("Maryland", ("MD", "ML")) is None


def test_without_known_names_none_is_near() -> None:
    assert near_name("oslo", ()) is None
