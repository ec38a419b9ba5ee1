"""Every measurement runs and gives its ratios. What they are is for `make bench`: a test must not depend on speed."""

from __future__ import annotations

import pytest

from bench import call_cost, cold_skus, hot_sku, rule_evaluation, rule_reloads
from bench.__main__ import MEASUREMENTS, Measurement
from bench.bench_retailer import open_shop
from bench.rounds import Pace, WrongAnswer

TINY = Pace(rounds=1, seconds=0.05)
RATIOS = {
    hot_sku.NAME: {
        "allocator_vs_transaction_1",
        "allocator_vs_transaction_8",
        "allocator_vs_transaction_grpc_8",
    },
    call_cost.NAME: {"check_availability_vs_empty", "allocate_vs_empty"},
    cold_skus.NAME: {"cold_p99_ratio"},
    rule_evaluation.NAME: {"memoised_vs_durable_rules", "rules_1000_vs_10"},
    rule_reloads.NAME: {"failed_calls", "mixed_decisions", "rss_growth_ratio", "threads_growth_ratio"},
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few callers, SKUs and questions: this is about whether it runs."""
    monkeypatch.setattr(hot_sku, "POOL_SIZES", (4,))
    monkeypatch.setattr(hot_sku, "FEW", (1,))
    monkeypatch.setattr(hot_sku, "MANY", 8)
    monkeypatch.setattr(cold_skus, "COLD", cold_skus.COLD[:10])
    monkeypatch.setattr(cold_skus, "CALLERS", 8)
    monkeypatch.setattr(call_cost, "CALLERS", 8)
    monkeypatch.setattr(rule_evaluation, "CONTEXTS", 500)
    monkeypatch.setattr(rule_evaluation, "PROVEN", 50)
    monkeypatch.setattr(rule_reloads, "RELOADS", 6)


@pytest.mark.parametrize("name", MEASUREMENTS)
async def test_a_measurement_gives_its_ratios_and_its_proof(name: str, database_url: str) -> None:
    measurement: Measurement = MEASUREMENTS[name]

    report = (await measurement.measure(database_url, TINY)).as_dict()

    assert set(report["ratios"]) == RATIOS[name]  # type: ignore[call-overload]
    assert report["proof"]


async def test_units_that_nobody_ordered_are_noticed(database_url: str) -> None:
    async with open_shop(database_url) as shop:
        await shop.stock(["MUG"])
        shop.sold["MUG"] = 1

        with pytest.raises(WrongAnswer, match="1 orders of one MUG were answered and 0 units are promised"):
            await shop.prove()
