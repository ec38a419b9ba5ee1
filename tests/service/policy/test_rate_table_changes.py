"""A rate table is part of the rules: a change of it takes force, and decisions by the table of before replay."""

from __future__ import annotations

from pathlib import Path

from google.type.latlng_pb2 import LatLng

from tests.conftest import RetailerMaker
from tests.retailer import eventually
from truestock.v1 import order_pb2, policy_service_pb2 as policy_pb

HERE = order_pb2.Destination(country="US", coordinates=LatLng(latitude=40, longitude=-75))
RULES = {
    "routing.yaml": "kind: routing\npolicies:\n  - {name: default, position: 1, rank: [lowest_cost]}\n",
    "delivery.yaml": "kind: delivery\nrules:\n  - {name: parcel, position: 1, service: ground, rates: zones.csv}\n",
    "zones.csv": "up_to_km,per_shipment\n100,9\n,4\n",
}


async def test_a_changed_rate_table_decides_the_next_order_and_not_the_replay_of_the_last(
    retailers: RetailerMaker, tmp_path: Path
) -> None:
    for name, text in RULES.items():
        (tmp_path / name).write_text(text)
    retailer = await retailers.make(tmp_path)
    await retailer.stock({("MUG", "near"): 9, ("MUG", "far"): 9})
    await retailer.locations("near", coordinates=LatLng(latitude=40.1, longitude=-75))
    await retailer.locations("far", coordinates=LatLng(latitude=45, longitude=-75))
    before = await retailer.allocate("A-1", {"MUG": 1}, destination=HERE)

    (tmp_path / "zones.csv").write_text(RULES["zones.csv"].replace("100,9", "100,2"))

    async def is_reloaded() -> bool:
        in_force = await retailer.policies.GetPolicySet(policy_pb.GetPolicySetRequest())
        return bool(in_force.policy_revision != before.decision.policy_revision)

    await eventually(is_reloaded)
    after = await retailer.allocate("A-2", {"MUG": 1}, destination=HERE)
    assert [x.location_id for x in before.shipments] == ["far"]
    assert [x.location_id for x in after.shipments] == ["near"]
    assert next(x.effect for x in before.decision.fired_rules if x.rule == "parcel").startswith("by ground, cost 4")
    assert (await retailer.replay(before.decision.decision_id)).identical
