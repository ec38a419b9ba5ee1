"""Rule tests state the outlet of an order and where its lines may ship from."""

import pytest

from policies.reading.rules_reader import read
from policies.testing.suites import run_suites

ROUTING = "kind: routing\npolicies:\n  - {name: rest, position: 100, rank: [fewest_shipments]}\n"
SUITE = """\
suite: Placements
now: 2026-11-27T09:00:00Z
locations: {oslo: {type: store}, bergen: {type: store}}
products: {MUG: , VASE: }
tests:
  - name: An order ships from where it may
    given:
      channel: shopify
      lines: {MUG: 1, VASE: 1}
      stock: {oslo: {MUG: 5, VASE: 5}, bergen: {MUG: 5, VASE: 5}}
      PLACED
    expect: {EXPECTED, because: []}
"""
FROM_BOTH = "shipments: [{location: oslo, lines: {MUG: 1}}, {location: bergen, lines: {VASE: 1}}]"
FROM_OSLO = "shipments: [{location: oslo, lines: {MUG: 1, VASE: 1}}]"


def problems(placed: str, expected: str) -> list[str]:
    files = {"r.yaml": ROUTING.encode()}
    files["r_test.yaml"] = SUITE.replace("PLACED", placed).replace("EXPECTED", expected).encode()
    return [problem.message for problem in run_suites(read(files).policy_set, files).problems]


@pytest.mark.parametrize(
    ("placed", "expected"),
    [
        ("outlet: [oslo]", FROM_OSLO),
        ("placements: {MUG: {only: [oslo]}, VASE: {not: [oslo]}}", FROM_BOTH),
        ("placements: {MUG: {only: [oslo], together: gift}, VASE: {together: gift}}", FROM_OSLO),
        ("placements: {MUG: {only: [oslo], together: gift}, VASE: {not: [oslo], together: gift}}", "shipments: []"),
    ],
)
def test_an_order_of_a_suite_ships_only_from_where_it_may(placed: str, expected: str) -> None:
    assert (
        problems(placed, f"outcome: {'unfillable' if expected == 'shipments: []' else 'allocated'}, {expected}") == []
    )


def test_a_placement_of_a_product_that_was_not_ordered_is_a_mistake() -> None:
    suite_of_one_line = "placements: {CUP: {only: [oslo]}}"

    assert any("CUP" in message for message in problems(suite_of_one_line, FROM_OSLO))


def test_an_outlet_has_only_locations_of_the_suite() -> None:
    assert "this suite has no location 'tromso'" in problems("outlet: [tromso]", FROM_OSLO)
