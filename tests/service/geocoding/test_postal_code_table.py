"""Postal codes and the areas that they are in, as the packed table of a country finds them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from policies.domain.model import Coordinates
from service.geocoding.postal_code_table import PostalCodeTable, center, plain_code

AUSTIN, ROUND_ROCK = Coordinates(30.25, -97.75), Coordinates(30.5, -97.65)
TEXAS = PostalCodeTable.of("US", {"78701": AUSTIN, "78664": ROUND_ROCK, "99501": Coordinates(61.2, -149.9)})

CODES = st.text("0123456789AB", min_size=1, max_size=6)
POINTS = st.builds(Coordinates, st.integers(-80, 80).map(float), st.integers(-179, 179).map(float))


@pytest.mark.parametrize("written", ["78701", " 78701 ", "US-78701", "78701-1234", "787 01"])
def test_a_postal_code_is_found_however_it_is_written(written: str) -> None:
    assert TEXAS.point(written) == AUSTIN


def test_a_code_that_is_not_known_is_in_the_area_of_those_that_begin_like_it() -> None:
    assert TEXAS.point("78799") is None

    assert TEXAS.area_center("78799") == AUSTIN
    assert TEXAS.area_center("78999") == center([AUSTIN, ROUND_ROCK])


def test_one_character_in_common_is_no_area() -> None:
    assert TEXAS.area_center("70000") is None


def test_a_british_code_is_in_the_district_before_its_last_three_characters() -> None:
    manchester, elsewhere = Coordinates(53.48, -2.24), Coordinates(53.47, -2.2)
    table = PostalCodeTable.of("GB", {"M1": manchester, "M11": elsewhere})

    assert table.area_center("M1 1AE") == table.area_center("m11ae") == manchester
    assert table.area_center("M11 1AE") == elsewhere


def test_the_middle_of_two_points_beside_the_180th_meridian_is_between_them() -> None:
    assert abs(center([Coordinates(0, 179), Coordinates(0, -179)]).longitude) == 180


def test_a_country_without_codes_has_no_points() -> None:
    table = PostalCodeTable.empty("HK")

    assert table.point("999077") is None
    assert table.area_center("999077") is None


def test_a_table_that_was_cut_off_is_refused() -> None:
    with pytest.raises(ValueError, match="has 2 of 3 codes"):
        PostalCodeTable.unpacked(TEXAS.packed()[:-4])


@settings(max_examples=60)
@given(st.dictionaries(CODES, POINTS, max_size=30), CODES)
def test_a_packed_table_finds_each_code_and_no_other(points: dict[str, Coordinates], other: str) -> None:
    table = PostalCodeTable.unpacked(PostalCodeTable.of("DE", points).packed())

    assert {code: table.point(code) for code in points} == points
    assert table.point(other) == points.get(other)


@settings(max_examples=60)
@given(st.dictionaries(CODES, POINTS, max_size=30), CODES)
def test_an_area_is_the_codes_with_the_longest_beginning_in_common(points: dict[str, Coordinates], code: str) -> None:
    table, expected = PostalCodeTable.of("DE", points), None
    for length in range(len(code), 1, -1):
        alike = [points[known] for known in sorted(points) if known.startswith(code[:length])]
        if alike:
            expected = center(alike)
            break

    assert table.area_center(code) == expected


@settings(max_examples=40)
@given(st.text(max_size=20))
def test_any_text_can_be_looked_up(text: str) -> None:
    assert TEXAS.point(text) in (None, AUSTIN, ROUND_ROCK, TEXAS.point("99501"))
    TEXAS.area_center(text)
    assert plain_code("US", plain_code("US", text)).isascii()
