"""The word that somebody most likely meant."""

from __future__ import annotations

import pytest

from policies.source.near_words import nearest

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
def test_the_nearest_word_is_found_as_people_misspell_it(word: str, expected: str | None) -> None:
    assert nearest(word, KNOWN) == expected


def test_an_abbreviation_that_could_be_several_is_none() -> None:
    assert nearest("Maryland", ("MD", "ML")) is None


def test_without_known_words_none_is_near() -> None:
    assert nearest("oslo", ()) is None
