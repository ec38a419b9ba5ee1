"""Every benchmark runs and reports its ratios. Tests do not check their values, which depend on the machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import (
    access_cost,
    call_cost,
    capacity_cost,
    channel_intake,
    cold_skus,
    event_loop,
    growth,
    hot_sku,
    log_cost,
    memory,
    order_planning,
    overload,
    rule_evaluation,
    rule_reloads,
    storage,
    workers,
)
from bench.__main__ import BENCHMARKS, Benchmark
from bench.baselines import redis_lua
from bench.bench_retailer import open_retailer
from bench.rounds import Pace, WrongAnswer

TINY = Pace(rounds=1, seconds=0.05)
RATIOS = {
    hot_sku.NAME: {
        "allocator_vs_transaction_1",
        "allocator_vs_transaction_8",
        "allocator_vs_transaction_grpc_8",
        "allocator_vs_plain_8",
        "allocator_vs_conditional_update_8",
        "allocator_vs_skip_locked_8",
        *(["allocator_vs_redis_lua_8"] if redis_lua.is_installed() else []),
    },
    call_cost.NAME: {
        "check_availability_vs_empty",
        "check_100_skus_vs_100_calls",
        "allocate_vs_empty",
        "allocate_vs_empty_256",
        "allocate_cpu_vs_empty",
        "batch_500_orders_vs_500_calls",
        "check_availability_vs_own_empty_call",
        "allocate_vs_own_empty_call",
    },
    access_cost.NAME: {
        "check_secure_vs_plain",
        "allocate_secure_vs_plain",
        "check_secure_cpu_vs_plain",
        "allocate_secure_cpu_vs_plain",
        "refused_cpu_vs_health_check",
        "good_p99_beside_refused_vs_alone",
    },
    log_cost.NAME: {"check_cpu", "allocate_cpu"},
    capacity_cost.NAME: {"limited_cpu_4", "limited_cpu_8"},
    cold_skus.NAME: {"cold_p99_ratio"},
    event_loop.NAME: {"longest_callback_cpu_ms", "loop_delay_p999_ms"},
    overload.NAME: {"goodput_4x_vs_1x", "goodput_4x_vs_1x_single_orders"},
    order_planning.NAME: {
        "plan_3x10_vs_empty_call",
        "route_3x200_cold_ms",
        "route_3x200_warm_ms",
        "exact_share_50x50",
        "plan_50x50_ms",
    },
    rule_evaluation.NAME: {"memoised_vs_durable_rules", "rules_1000_vs_10"},
    rule_reloads.NAME: {"failed_calls", "mixed_decisions", "rss_growth_ratio", "threads_growth_ratio"},
    storage.NAME: {"bytes_an_order"},
    memory.NAME: {"rss_after_1e6_calls_vs_1e4", "rss_mib"},
    channel_intake.NAME: {"intake_vs_bare_insert", "ack_p99_ms"},
    growth.NAME: {"allocate_p50", "check_p50", "lists_p50"},
    workers.NAME: {"workers_2_vs_1", "workers_2_vs_1_cpu", "smallest_share_of_a_worker"},
}

SLOW = {
    *(call_cost.NAME, growth.NAME, hot_sku.NAME, memory.NAME, overload.NAME, rule_reloads.NAME, storage.NAME),
    *(access_cost.NAME, capacity_cost.NAME, log_cost.NAME, workers.NAME, channel_intake.NAME),
}
"""Benchmarks that take seconds at any pace, because of the processes that they start."""


@pytest.fixture(autouse=True)
def few_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few callers, SKUs and contexts, so that the benchmarks run quickly."""
    monkeypatch.setattr(storage, "ORDERS", 10)
    monkeypatch.setattr(storage, "SKUS", ["SKU-0", "SKU-1"])
    monkeypatch.setattr(hot_sku, "POOL_SIZES", (4,))
    monkeypatch.setattr(hot_sku, "FEW_CALLERS", (1,))
    monkeypatch.setattr(hot_sku, "MANY_CALLERS", 8)
    monkeypatch.setattr(cold_skus, "COLD", cold_skus.COLD[:10])
    monkeypatch.setattr(cold_skus, "CALLERS", 8)
    monkeypatch.setattr(call_cost, "CALLERS", 8)
    monkeypatch.setattr(call_cost, "MANY_CALLERS", 8)
    monkeypatch.setattr(call_cost, "SKUS", call_cost.SKUS[:5])
    monkeypatch.setattr(call_cost, "BATCHED_ORDERS", 20)
    monkeypatch.setattr(overload, "ORDERS", replace(overload.ORDERS, callers=8))
    monkeypatch.setattr(overload, "BATCHES", replace(overload.BATCHES, callers=2, orders=5))
    monkeypatch.setattr(event_loop, "BURST_ORDERS", 4)
    monkeypatch.setattr(event_loop, "LINES", 3)
    monkeypatch.setattr(event_loop, "LOCATIONS", 4)
    monkeypatch.setattr(order_planning, "CALLERS", 8)
    monkeypatch.setattr(order_planning, "MANY_LOCATIONS", 20)
    monkeypatch.setattr(rule_evaluation, "CONTEXTS", 500)
    monkeypatch.setattr(rule_evaluation, "CROSS_CHECKED", 50)
    monkeypatch.setattr(rule_reloads, "RELOADS", 6)
    monkeypatch.setattr(log_cost, "CALLERS", 4)
    monkeypatch.setattr(capacity_cost, "CALLERS", (4, 8))
    for name, count in (("CALLERS", 4), ("CONNECTIONS", 20)):
        monkeypatch.setattr(workers, name, count)
    for name, count in (("PRODUCTS", 20), ("FEW", 2), ("MANY", 4), ("CALLERS", 4)):
        monkeypatch.setattr(memory, name, count)
    monkeypatch.setattr(growth, "LISTS", growth.LISTS[:2])
    for name, count in (("FEW", 20), ("MANY", 40), ("FINISHED", 10), ("UNFINISHED", 1)):
        monkeypatch.setattr(growth, name, count)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in SLOW else name for name in BENCHMARKS]
)
async def test_a_benchmark_reports_its_ratios_and_what_it_verified(name: str, database_url: str) -> None:
    benchmark: Benchmark = BENCHMARKS[name]

    report = (await benchmark.measure(database_url, TINY)).as_dict()

    assert set(report["ratios"]) == RATIOS[name]  # type: ignore[call-overload]
    assert report["verified"]


async def test_an_answered_order_without_an_allocated_unit_is_detected(database_url: str) -> None:
    async with open_retailer(database_url) as retailer:
        await retailer.add_products(["MUG"])
        retailer.sold["MUG"] = 1

        with pytest.raises(WrongAnswer, match="1 units of MUG are allocated by the answers, 0 by the stock levels"):
            await retailer.verify()
