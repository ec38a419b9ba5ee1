"""Reads where a test's order may ship from: the outlet that its channel chose, and what its lines say themselves."""

from __future__ import annotations

from collections.abc import Mapping

from policies.domain.outlets import Outlet
from policies.domain.placement import Placement
from policies.source.problems import quoted
from policies.source.rule_file import RuleFile
from policies.source.yaml_nodes import Node
from policies.testing.fixtures import Fixtures
from policies.testing.stated_values import MAX_ENTRIES

PLACEMENT_KEYS = ("only", "not", "together")


def chosen_outlet(file: RuleFile, fixtures: Fixtures, node: Node, what: str) -> Outlet:
    """The outlet with these locations."""
    return Outlet("outlet", _location_ids(file, fixtures, node, what))


def line_placements(file: RuleFile, fixtures: Fixtures, node: Node, what: str) -> Mapping[str, Placement]:
    """The placement of each line, by its SKU: `{MUG: {only: [oslo]}, VASE: {not: [bergen], together: gift}}`."""
    placements: dict[str, Placement] = {}
    for sku, value in fixtures.entries("product", node, what):
        title = f"{what} of {quoted(sku)}"
        fields = file.fields(value, title, PLACEMENT_KEYS)
        if not fields:
            continue
        only, excluded = (
            _location_ids(file, fixtures, fields[key], f"{quoted(key)} in {title}") if key in fields else None
            for key in ("only", "not")
        )
        together = file.text(fields["together"], f"'together' in {title}") if "together" in fields else None
        placements[sku] = Placement(only, excluded or frozenset(), together or "")
    return placements


def _location_ids(file: RuleFile, fixtures: Fixtures, node: Node, what: str) -> frozenset[str]:
    items = file.items(node, what, "[store-one, store-two]", at_most=MAX_ENTRIES)
    names = [fixtures.fixture_name("location", item, f"an entry of {what}") for item in items]
    return frozenset(name for name in names if name is not None)
