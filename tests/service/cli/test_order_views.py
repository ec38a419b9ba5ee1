"""Shortages and their causes on the command line, from messages."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO

from rich.console import Console

from service.cli.views.order_views import print_explanation
from truestock.v1.allocation_service_pb2 import Allocation, GetAllocationResponse, Shortage
from truestock.v1.decision_pb2 import Decision, DroppedCandidate, OutletEvidence, OversellEvidence, PublishedFigure


def explained(*oversells: OversellEvidence, shortages: list[Shortage]) -> str:
    allocation = Allocation(channel_id="web", order_id="1", decision=Decision(oversells=oversells), shortages=shortages)
    output = StringIO()
    print_explanation(Console(width=140, file=output), GetAllocationResponse(allocation=allocation))
    return " ".join(output.getvalue().split())


def test_an_oversell_is_explained_by_what_the_channel_was_told() -> None:
    figure = PublishedFigure(sellable_count=1_000, policy_revision="4f2a9c")
    figure.publish_time.FromDatetime(datetime(2026, 11, 27, 9, tzinfo=UTC))
    evidence = OversellEvidence(
        sku="MUG",
        ordered_count=8,
        short_count=3,
        published=figure,
        own_promised_count=5,
        cause="not_applied",
        stale=True,
    )

    text = explained(evidence, shortages=[Shortage(sku="MUG", unit_count=3, kind=Shortage.KIND_OVERSELL)])

    assert "MUG: 3 units oversold, not applied: 1,000 published at " in text
    assert " by rules 4f2a9c; since then 13 sold on this channel and 0 on others." in text
    assert "A stock figure was older than its feed's cadence." in text


def test_units_that_rules_keep_are_never_called_missing() -> None:
    text = explained(
        shortages=[
            Shortage(sku="MUG", unit_count=1, kind=Shortage.KIND_HELD_BY_BUFFER, rules=["floor"], backordered=True),
            Shortage(sku="CAP", unit_count=2, kind=Shortage.KIND_BLOCKED_BY_RULE, rules=["no-picture", "no-size"]),
        ]
    )

    assert "on backorder; in stock, but held back by the buffer rule floor" in text
    assert "in stock, but blocked by the exposure rules no-picture, no-size" in text
    assert "oversold" not in text


def test_units_that_are_elsewhere_are_said_to_be_in_stock() -> None:
    causes = ["too_late", "no_capacity", "outlet_short", "line_restricted", "kept_together"]
    elsewhere = [Shortage(sku="MUG", unit_count=1, kind=Shortage.KIND_UNFILLABLE, cause=cause) for cause in causes]
    unknown = Shortage(
        sku="MUG", unit_count=1, kind=Shortage.KIND_UNFILLABLE, cause="unmapped_outlet", backordered=True
    )

    text = explained(shortages=[*elsewhere, unknown])

    assert text.count("in stock, but") == len(causes)
    assert "in stock, but not in the outlet that the channel chose" in text
    assert "waits for its outlet, which the catalog does not have" in text
    assert "could not supply it" not in text


def test_what_a_channel_showed_in_the_outlet_of_an_order_is_explained() -> None:
    outlet = OutletEvidence(outlet_id="east", published_count=6, shown_count=9)
    evidence = OversellEvidence(sku="MUG", cause="not_applied", published=PublishedFigure(), outlet=outlet)

    assert "In outlet east, 6 were published and 9 shown." in explained(evidence, shortages=[])


def test_a_location_that_one_line_may_not_use_is_named_with_the_line() -> None:
    dropped = DroppedCandidate(location_id="dc", sku="MUG", reason="line-restricted", line_id="2")
    allocation, output = Allocation(decision=Decision(dropped_candidates=[dropped])), StringIO()

    print_explanation(Console(width=140, file=output), GetAllocationResponse(allocation=allocation))

    assert "MUG, line 2" in output.getvalue()
