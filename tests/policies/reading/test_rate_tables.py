"""Rate tables: which zone a shipment is in, what it costs there, and what is wrong with a table."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from policies.domain.model import Destination
from policies.domain.rate_table import UNKNOWN_WEIGHT, RateTable
from policies.reading.rate_tables import read_rate_table
from policies.reading.rules_reader import read, revision

ROUTING = b"""kind: routing
policies:
  - {name: default, position: 1, rank: [lowest_cost]}
"""
DELIVERY = b"""kind: delivery
rules:
  - {name: parcel, position: 1, service: ground, rates: zones.csv}
"""
ZONES = b"""country,region,postal_code,up_to_km,per_shipment,per_unit,free_from
US,HI,,,18,4.50,
US,,10,,9,,
US,,,100,4,0.50,60
US,,,,6,0.75,
,,,,30,2,
"""


def table(content: bytes = ZONES) -> RateTable:
    read_table, problems = read_rate_table("rules/zones.csv", content)
    assert not problems, problems
    assert read_table is not None
    return read_table


@pytest.mark.parametrize(
    ("destination", "distance_km", "line"),
    [
        (Destination("US", "HI", "10001"), 5, 2),
        (Destination("US", "NY", "10-001"), 5, 3),
        (Destination("US", "NJ", "07302"), 100, 4),
        (Destination("US", "NJ", "07302"), 100.1, 5),
        (Destination("US"), None, 5),
        (Destination("DE", "HI", "10115"), 5, 6),
        (None, None, 6),
    ],
)
def test_the_first_zone_that_a_shipment_fits_counts(
    destination: Destination | None, distance_km: float | None, line: int
) -> None:
    zone = table().zone_of(destination, distance_km)

    assert zone is not None
    assert zone.line == line


def test_a_shipment_that_no_zone_fits_has_an_unknown_cost() -> None:
    assert table(b"country,per_shipment\nUS,4\n").zone_of(Destination("DE"), 5) is None


BY_WEIGHT = b"""country,up_to_kg,per_shipment,per_kg
US,0.5,4,
US,2,5.50,
US,,5,0.80
,10,20,
"""


@pytest.mark.parametrize(
    ("country", "grams", "cost"),
    [
        ("US", 500, "4"),
        ("US", 501, "5.50"),
        ("US", 2_000, "5.50"),
        ("US", 2_500, "7"),
        ("US", UNKNOWN_WEIGHT, "Infinity"),
        ("CA", 10_000, "20"),
        ("CA", 10_001, "Infinity"),
        ("CA", UNKNOWN_WEIGHT, "Infinity"),
    ],
)
def test_a_shipment_is_in_the_first_zone_that_carries_its_weight(country: str, grams: float, cost: str) -> None:
    rates = table(BY_WEIGHT).rates_to(Destination(country), None, None)

    assert rates is not None
    assert rates.of(3, grams) == Decimal(cost)


def test_the_cost_of_an_unweighed_shipment_is_that_of_a_line_without_weights() -> None:
    rates = table(b"up_to_kg,per_shipment\n1,4\n,9\n").rates_to(None, None, None)

    assert rates is not None
    assert [rates.of(1, 1_000), rates.of(1, UNKNOWN_WEIGHT)] == [Decimal(4), Decimal(9)]


@pytest.mark.parametrize(("order_value", "cost"), [(None, "5.50"), ("59.99", "5.50"), ("60", "0"), ("61", "0")])
def test_shipping_is_free_from_an_order_value_on(order_value: str | None, cost: str) -> None:
    zone = table().zone_of(Destination("US"), 10)

    assert zone is not None
    assert zone.cost_of(None if order_value is None else Decimal(order_value)).of(3) == Decimal(cost)


@pytest.mark.parametrize(
    ("content", "place", "code", "message"),
    [
        (b"country,prise\nUS,4\n", (1, 9), "unknown-key", "there is no column 'prise'"),
        (b"country;per_unit\nUS;4\n", (1, 1), "unknown-key", "there is no column 'country;per_unit'"),
        (b"country\nUS\n", (1, 1), "missing-key", "no column states a cost"),
        (b"per_unit,per_unit\n1,2\n", (1, 10), "duplicate-key", "the column 'per_unit' is there twice"),
        (b"country,per_unit\nUS, 4x\n", (2, 5), "wrong-type", "'4x' is not a number for 'per_unit'"),
        (b"country,per_unit\nUS,-1\n", (2, 4), "wrong-type", "'-1' is not a number for 'per_unit'"),
        (b"per_unit\n1000001\n", (2, 1), "out-of-range", "'1000001' is too large for 'per_unit'"),
        (b"country,per_unit\nusa,1\n", (2, 1), "unknown-value", "'usa' is not a country"),
        (b"country,per_unit\nUS,1,2\n", (2, 1), "wrong-cell-count", "this line has 3 cells, and the first line has 2"),
        (b"country,per_unit\nUS,\n", (2, 1), "missing-key", "this zone has no cost"),
        (b"region,per_unit\nTX,1\n", (2, 1), "missing-key", "this region is of no country"),
        (b"country,per_unit\n,1\nUS,2\n", (3, 1), "shadowed-rule", "no shipment reaches this zone: line 2 takes all"),
        (b"up_to_km,per_unit\n9,1\n8,2\n", (3, 1), "shadowed-rule", "no shipment reaches this zone: line 2 takes all"),
        (b"per_unit\n", (0, 0), "missing-key", "the table has no zone"),
        (b"", (1, 1), "unknown-key", "there is no column ''"),
        (b"per_unit\n" + b"1\n" * 1_001, (1_002, 1), "too-large", "the table has more than 1,000 zones"),
        (b"," * (1 << 20) + b"x", (0, 0), "too-large", "the table has more than 1,048,576 bytes"),
        (b"\xff", (0, 0), "not-utf-8", "this file is not UTF-8 text"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_place(
    content: bytes, place: tuple[int, int], code: str, message: str
) -> None:
    refused, problems = read_rate_table("rules/zones.csv", content)

    assert refused is None
    assert [((x.line, x.column), x.code) for x in problems] == [(place, code)]
    assert problems[0].message.startswith(message)
    assert problems[0].help


@given(st.binary(max_size=80) | st.text("country,pe_rgiunt\n0123456789.USHI", max_size=120).map(str.encode))
def test_any_file_is_a_table_or_has_problems(content: bytes) -> None:
    read_table, problems = read_rate_table("rules/zones.csv", content)

    assert (read_table is None) == bool(problems)


def test_a_rule_with_rates_is_part_of_its_revision() -> None:
    files = {"rules/d.yaml": DELIVERY, "rules/r.yaml": ROUTING, "rules/zones.csv": ZONES}
    dearer = files | {"rules/zones.csv": ZONES.replace(b",6,", b",7,")}

    first, second = read(files).policy_set, read(dearer).policy_set

    assert first is not None
    assert second is not None
    assert first.delivery[0].rates is not None
    assert first.files == tuple(files)
    assert first.revision == revision(files) != second.revision


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (b"rates: other.csv", "no-such-file"),
        (b"rates: ../zones.csv", "no-such-file"),
        (b"rates: d.yaml", "no-such-file"),
        (b"rates: [zones.csv]", "wrong-type"),
        (b"rates: zones.csv, cost: {per_unit: 1}", "conflicting-keys"),
    ],
)
def test_a_rule_names_one_table_beside_it_and_no_cost(rule: bytes, code: str) -> None:
    delivery = DELIVERY.replace(b"rates: zones.csv", rule)

    reading = read({"rules/d.yaml": delivery, "rules/r.yaml": ROUTING, "rules/zones.csv": ZONES})

    assert reading.policy_set is None
    assert [(x.file, x.line, x.code) for x in reading.problems] == [("rules/d.yaml", 3, code)]


def test_a_table_that_two_rules_name_is_reported_once() -> None:
    second = b"  - {name: other, position: 2, when: {order.method: ship}, service: air, rates: zones.csv}\n"
    files = {"rules/d.yaml": DELIVERY + second, "rules/r.yaml": ROUTING, "rules/zones.csv": b"per_unit\nx\n"}

    assert [(x.file, x.line, x.column, x.code) for x in read(files).problems] == [
        ("rules/zones.csv", 2, 1, "wrong-type")
    ]


def test_the_shipped_table_is_read() -> None:
    content = (Path(__file__).parents[3] / "rules/delivery/canada.csv").read_bytes()

    zone = table(content).zone_of(Destination("CA", "YT", "Y1A 1A1"), None)

    assert zone is not None
    assert zone.cost.of(2) == 44
