"""What has shipped although its channel does not order it any more: who is told, and what they read."""

from __future__ import annotations

from uuid import uuid4

import pytest

from policies.domain.model import Commitment, Product
from policies.domain.shipments import ShipmentState
from service.allocation.planner import AllocationChange
from service.allocation.planning_context import ChannelContext
from service.allocation.replanning.excess_units import note_excess
from service.orders.allocation_record import AllocationRecord, LineRecord, ShipmentRecord
from service.stock.stock_book import Book
from tests.policies.small_retailer import ANYWHERE, NOW, TIKTOK, rules, store, warehouse

RULES = rules(
    ANYWHERE,
    """
kind: exception
rules:
  - {name: at-the-store, position: 10, when: {location.type: store}, do: hold, owner: store-desk, due_in: 1h}
  - {name: elsewhere, position: 20, do: hold, owner: desk, due_in: 1d}
""",
)
CONTEXT = ChannelContext(RULES, {x.id: x for x in (warehouse("dc"), store("main"))}, TIKTOK, {"MUG": Product("MUG")})


def shortened(shipped: dict[str, dict[str, int]], ordered: dict[str, int]) -> AllocationChange:
    """A sold order of which these units by line have shipped from these locations; its channel now orders fewer."""
    line_ids = dict.fromkeys(line_id for units in shipped.values() for line_id in units)
    record = AllocationRecord(uuid4(), TIKTOK.id, "TT-1", NOW, NOW, commitment=Commitment.SOLD)
    record.lines = [LineRecord(line_id, "MUG", 9) for line_id in line_ids]
    record.shipments = [
        ShipmentRecord(uuid4(), location_id, None, ShipmentState.SHIPPED, {}, units)
        for location_id, units in shipped.items()
    ]
    return note_excess(CONTEXT, Book(NOW, {}, uuid4), AllocationChange(record), ordered)


def test_a_parcel_that_must_be_stopped_is_for_the_store_that_sent_it_and_parcels_of_several_for_none_of_them() -> None:
    [of_store] = shortened({"main": {"1": 2}}, {"1": 1}).exceptions
    [of_both] = shortened({"main": {"1": 2}, "dc": {"1": 1}}, {"1": 1}).exceptions

    assert (of_store.handling.owner, of_both.handling.owner) == ("store-desk", "desk")
    assert of_both.description.endswith("Shipped from dc, main.")


@pytest.mark.parametrize(
    ("line_count", "names"), [(1, "line 1"), (5, "lines 1, 2, 3, 4, 5"), (6, "lines 1, 2, 3, 4, 5…")]
)
def test_up_to_five_lines_are_named(line_count: int, names: str) -> None:
    line_ids = [str(number) for number in range(1, line_count + 1)]

    change = shortened({"dc": dict.fromkeys(line_ids, 2)}, dict.fromkeys(line_ids, 1))

    assert change.event == "changed"
    assert change.description.startswith(f"The order is now for {line_count} unit")
    assert f" of {names}, and {2 * line_count} have shipped; " in change.description
