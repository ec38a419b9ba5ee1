"""Labels whose values callers may invent stay bounded, and what rules and the catalog name starts at 0."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from service.metrics import Metrics
from service.metrics.labels import OBSERVED_PLACES, OWNER_LABELS


def test_owners_that_people_invent_share_one_label_when_there_are_too_many() -> None:
    registry = CollectorRegistry()
    exceptions = Metrics(registry).exceptions
    for number in range(OWNER_LABELS + 50):
        exceptions.count_raised("oversell", "web", f"owner-{number}")
    exceptions.set_open({("oversell", "owner-0"): 3, ("oversell", "new"): 2, ("oversell", "newer"): 1}, {})

    value = registry.get_sample_value
    assert value("truestock_owner_exceptions_total", {"kind": "oversell", "owner": "other"}) == 50
    assert value("truestock_exceptions_open", {"kind": "oversell", "owner": "owner-0"}) == 3
    assert value("truestock_exceptions_open", {"kind": "oversell", "owner": "other"}) == 3


def test_mismatches_of_declared_observers_start_at_0_and_the_pairs_with_locations_are_bounded() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.start_locations(["dc"])
    metrics.stock.start_observer("camera", [])
    metrics.stock.start_observer("audit", ["shop"])
    metrics.start_locations(["shop"])
    value = registry.get_sample_value

    for source, location in (("camera", "dc"), ("camera", "shop"), ("audit", "shop")):
        assert value("truestock_inventory_mismatches_total", {"source": source, "location": location}) == 0
    for number in range(OBSERVED_PLACES):
        metrics.stock.count_comparison(f"source-{number}", "dc", 1)
    assert value("truestock_inventory_mismatches_total", {"source": "other", "location": "dc"}) == 3
