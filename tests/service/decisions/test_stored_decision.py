"""Decisions are read back as they were made, however they were stored."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from google.type.latlng_pb2 import LatLng

from service.database.compression import restored
from service.decisions.decision_batch import unpacked
from service.decisions.decision_inputs import inputs_of
from service.decisions.erased_destination import erased
from tests.conftest import RetailerMaker
from tests.retailer import Retailer, order_request
from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2

BY_VALUE = Path(__file__).parent / "decisions_by_value.json"
"""Rows as they were written before batches: changed, held, oversold and rerouted orders, their catalog and rules."""
TEXAS = order_pb2.Destination(country="US", region="TX", postal_code="78704")


async def test_decisions_that_earlier_versions_stored_by_value_replay_to_the_byte(retailer: Retailer) -> None:
    stored = json.loads(BY_VALUE.read_text())
    for table, rows in stored.items():
        for row in rows:
            await insert(retailer, table, row)
    ids = [row["id"] for row in stored["decision"] if row["inputs"]]

    decisions = [await retailer.decision(id) for id in ids]
    replays = [await retailer.replay(id) for id in ids]
    explanations = [(await retailer.explain(id)).explanation for id in ids]

    assert len(ids) == 5
    assert all(x.chosen.shipments or x.refused.shipments or not x.ranked_count for x in explanations)
    assert sum(x.HasField("next_best") for x in explanations) >= 2
    assert [replay.differing_field for replay in replays if not replay.identical] == []
    assert {decision.inputs.order.destination.postal_code for decision in decisions} == {"", "78704"}
    assert sum(bool(decision.decision.fired_rules) for decision in decisions) >= 3


async def test_orders_of_one_transaction_store_once_what_they_share(retailer: Retailer) -> None:
    figures = {("MUG", f"dc-{number}"): 9 for number in range(12)} | {("CUP", "dc-1"): 50}
    await retailer.stock(figures)

    orders = await allocated(retailer, [{"MUG": 2} if n % 3 else {"CUP": 1, "MUG": 1} for n in range(40)])

    ids = [order.decision.decision_id for order in orders]
    rows = await retailer.sql("SELECT * FROM decision WHERE batch_id IS NOT NULL")
    decisions = [await retailer.decision(id) for id in ids]
    assert len(rows) > 20
    assert max(len(row["inputs"]) for row in rows) < 120
    assert all(row["explanation"] is None for row in rows)
    assert [decision.decision for decision in decisions] == [order.decision for order in orders]
    assert [len(decision.inputs.levels) for decision in decisions] == [12 if n % 3 else 13 for n in range(40)]
    assert {decision.inputs.order.destination.postal_code for decision in decisions} == {"78704"}
    assert [id for id in ids if not (await retailer.replay(id)).identical] == []
    compared = [await retailer.get(order.allocation_id) for order in orders[:3]]
    assert [order.allocation.decision for order in compared] == [order.decision for order in orders[:3]]


async def test_bytes_of_decisions_that_share_are_counted_once(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 99})
    await allocated(retailer, [{"MUG": 1}] * 20)

    columns = ("explanation", "inputs", "destination", "reference")
    decisions = await retailer.sql("SELECT * FROM decision")
    batches = await retailer.sql("SELECT * FROM decision_batch")
    explanations = [part for batch in batches for part in unpacked(batch["explanations"])]
    parts = [part for batch in batches for part in unpacked(restored(batch["parts"]))[1:]]
    own = [row[column] for row in decisions for column in columns if row[column] is not None]
    assert len(batches) > 0
    assert retailer.metric("decisions_stored_bytes_total") == sum(map(len, own + explanations + parts))


async def test_a_decision_replays_to_the_byte_after_its_destination_was_erased(
    retailers: RetailerMaker, tmp_path: Path
) -> None:
    (tmp_path / "routing.yaml").write_text(RULES)
    retailer = await retailers.make(tmp_path)
    await retailer.stock({("MUG", "dc"): 9, ("MUG", "high-street"): 9})
    await retailer.locations("dc", coordinates=LatLng(latitude=41.9, longitude=-87.6))
    await retailer.locations("high-street", coordinates=LatLng(latitude=30.3, longitude=-97.7))
    austin = order_pb2.Destination(
        country="US", region="TX", postal_code="78704", coordinates=LatLng(latitude=30.2, longitude=-97.8)
    )
    order = await retailer.allocate("A-1", {"MUG": 1}, destination=austin)
    inputs = inputs_of((await retailer.decision(order.decision.decision_id)).inputs)
    assert inputs.order.destination is not None
    explained = await retailer.explain(order.decision.decision_id)

    derived = erased(inputs.order.destination, inputs.world.locations).SerializeToString()
    await retailer.sql("UPDATE decision SET destination = NULL, erased_destination = $1", derived)

    stored = await retailer.decision(order.decision.decision_id)
    replay = await retailer.replay(order.decision.decision_id)
    assert order.shipments[0].location_id == "high-street"
    assert [x.location_id for x in stored.decision.dropped_candidates if x.rule == "far"] == ["dc"]
    assert not stored.inputs.order.HasField("destination")
    assert b"78704" not in stored.SerializeToString()
    assert replay.identical
    assert await retailer.explain(order.decision.decision_id) == explained


RULES = """
kind: routing
policies:
  - name: near
    position: 1
    applies_to: {destination.region: TX}
    exclude: [{name: far, when: {location.distance_km: {more_than: 1000}}}]
    rank: [{nearest: {band_km: 50}}]
  - {name: rest, position: 2, rank: [priority]}
"""


async def allocated(retailer: Retailer, orders: list[dict[str, int]]) -> list[allocation_pb.Allocation]:
    """The allocations of orders that arrive together."""
    return await retailer.allocate_together(
        [order_request(f"A-{number}", units, destination=TEXAS) for number, units in enumerate(orders)]
    )


async def insert(retailer: Retailer, table: str, row: dict[str, str | None]) -> None:
    columns = {
        found["column_name"]: found["data_type"]
        for found in await retailer.sql(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = $1", table
        )
    }
    values = {name: value_of(columns[name], text) for name, text in row.items()}
    marks = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    await retailer.sql(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks}) ON CONFLICT DO NOTHING", *values.values()
    )


def value_of(data_type: str, text: str | None) -> Any:
    match data_type:
        case _ if text is None:
            return None
        case "bytea":
            return base64.b64decode(text.removeprefix("base64:"))
        case "uuid":
            return UUID(text)
        case "timestamp with time zone":
            return datetime.fromisoformat(text)
        case _:
            return text
