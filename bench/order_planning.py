"""The CPU time of planning one order, without the service around it, beside that of a call that does nothing."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from statistics import median

from bench.baselines.bare_echo import running_bare_echo
from bench.bench_calls import ECHO, CallStream
from bench.bench_report import Ratio, Report
from bench.bench_retailer import repository_rules
from bench.collector_settings import collector_of_service
from bench.cpu_meter import CpuMeter, MeteredServer
from bench.load_generator import running_generator
from bench.rounds import Figures, Pace, WrongAnswer, run_in_turns
from policies.decisions.routing import route
from policies.domain.model import (
    Channel,
    Commitment,
    Coordinates,
    Destination,
    Location,
    Order,
    OrderLine,
    Outcome,
    Product,
    StockLevel,
    World,
)
from policies.policy_set import PolicySet

NAME = "routing"
PACE = Pace(rounds=7, seconds=1.0)
SEED = 20_261_127
CHANNEL = Channel("tiktok_shop", "social")
NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)
LINES, FEW_LOCATIONS, MANY_LOCATIONS = 3, 10, 200
CALLERS = 64
LARGE = 50
"""Lines of a large order, and locations, of which each has 30 to 60 % of its products."""

ORDERS_OF_A_MOMENT = 5
"""Orders of the same products that are planned in turn, as in one transaction; all but the first are warm."""

ECHO_CALL, FEW, MANY = "bare echo", "3 lines x 10 locations", "3 lines x 200 locations"
LARGE_ORDERS = "50 lines x 50 locations"

Key = tuple[str, str]

_numbers = itertools.count(1)


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Planning a SOLD order by the repository's rules, in process time. `url` is not used. Raises WrongAnswer.

    Cold: products, stock, moment and destination are new; rules and locations are not. Warm: the next orders in the
    same transaction, each after the one before has taken its units. Large orders are cold, and no location has all
    of their products.
    """
    policy_set = repository_rules()
    few, many, large = _locations(FEW_LOCATIONS), _locations(MANY_LOCATIONS), _locations(LARGE)
    async with running_generator() as generator, running_bare_echo() as echo:
        server = MeteredServer(generator, echo.address, CpuMeter(echo.pid))
        figures = await run_in_turns(
            {
                ECHO_CALL: partial(server.run, CallStream("calls", ECHO, (), callers=CALLERS)),
                FEW: partial(_plan, policy_set, few),
                MANY: partial(_plan, policy_set, many),
                LARGE_ORDERS: partial(_plan_large, policy_set, large),
            },
            pace,
        )
    planned = sum(figure["orders"] for name in (FEW, MANY) for figure in figures[name])
    large_orders = sum(figure["orders"] for figure in figures[LARGE_ORDERS])
    return Report(
        name=NAME,
        pace=pace,
        variants=figures,
        ratios=_ratios(figures),
        settings={"lines": LINES, "callers_of_the_echo": CALLERS},
        verified=f"each of {planned:,.0f} orders got all its units, from stock that was there; and {large_orders:,.0f} "
        "large ones, or as many shipments as the policy allows",
    )


def _ratios(figures: Mapping[str, Sequence[Figures]]) -> list[Ratio]:
    few, many, calls = figures[FEW], figures[MANY], figures[ECHO_CALL]
    against_call = [x["cold_us"] / call["server_cpu_us_per_call"] for x, call in zip(few, calls, strict=True)]
    return [
        Ratio("plan_3x10_vs_empty_call", tuple(against_call), at_most=1.2),
        Ratio("route_3x200_cold_ms", tuple([x["cold_us"] / 1_000 for x in many]), at_most=2.5),
        Ratio("route_3x200_warm_ms", tuple([x["warm_us"] / 1_000 for x in many]), at_most=1.0),
        Ratio("exact_share_50x50", tuple([x["exact_share"] for x in figures[LARGE_ORDERS]]), at_least=0.95),
        Ratio("plan_50x50_ms", tuple([x["slowest_ms"] for x in figures[LARGE_ORDERS]]), at_most=50),
    ]


async def _plan(policy_set: PolicySet, locations: Mapping[str, Location], seconds: float) -> Figures:
    cold: list[float] = []
    warm: list[float] = []
    deadline = time.perf_counter() + seconds
    while not warm or time.perf_counter() < deadline:
        first, *others = _moment(policy_set, locations)
        cold.append(first)
        warm += others
    return {"cold_us": median(cold) * 1e6, "warm_us": median(warm) * 1e6, "orders": float(len(cold) + len(warm))}


async def _plan_large(policy_set: PolicySet, locations: Mapping[str, Location], seconds: float) -> Figures:
    with collector_of_service():
        return _large_orders(policy_set, locations, seconds)


def _large_orders(policy_set: PolicySet, locations: Mapping[str, Location], seconds: float) -> Figures:
    took: list[float] = []
    exact = 0
    deadline = time.perf_counter() + seconds
    while not took or time.perf_counter() < deadline:
        number = next(_numbers)
        dice = random.Random(SEED + number)
        now = NOW + timedelta(seconds=number)
        products = {sku: _product(sku) for sku in (f"SKU-{number}-{line}" for line in range(LARGE))}
        levels = _partial_assortments(dice, now, list(products), locations)
        order = _order(dice, f"order-{number}", list(products))
        start = time.process_time()
        decision = route(policy_set, World(now, locations, products, levels), CHANNEL, order)
        took.append(time.process_time() - start)
        _allocate(levels, decision.units)
        if decision.outcome is not Outcome.ALLOCATED and len(decision.plan) != decision.policy.max_shipments:
            raise WrongAnswer(f"an order of {LARGE} lines was {decision.outcome}, with shipments to spare")
        exact += decision.searched_exhaustively
    return {"exact_share": exact / len(took), "slowest_ms": max(took) * 1e3, "orders": float(len(took))}


def _partial_assortments(
    dice: random.Random, now: datetime, skus: Sequence[str], locations: Mapping[str, Location]
) -> dict[Key, StockLevel]:
    """Stock of 30 to 60 % of the products at each location."""
    return {
        (sku, key): _level(dice, now, sku, key)
        for key in locations
        for sku in dice.sample(skus, round(len(skus) * dice.uniform(0.3, 0.6)))
    }


def _moment(policy_set: PolicySet, locations: Mapping[str, Location]) -> Iterator[float]:
    """Seconds of CPU time of each order of one moment, with products and stock of its own."""
    number = next(_numbers)
    dice = random.Random(SEED + number)
    now = NOW + timedelta(seconds=number)
    products = {sku: _product(sku) for sku in (f"SKU-{number}-{line}" for line in range(LINES))}
    levels = {(sku, key): _level(dice, now, sku, key) for sku in products for key in locations}
    order = _order(dice, f"order-{number}", list(products))
    for suffix in range(ORDERS_OF_A_MOMENT):
        order = replace(order, order_id=f"order-{number}-{suffix}")
        start = time.process_time()
        decision = route(policy_set, World(now, locations, products, levels), CHANNEL, order)
        took = time.process_time() - start
        if decision.outcome is not Outcome.ALLOCATED:
            raise WrongAnswer(f"an order of {LINES} units was {decision.outcome}; every location has them in stock")
        _allocate(levels, decision.units)
        yield took


def _allocate(levels: dict[Key, StockLevel], units: Mapping[Key, int]) -> None:
    for key, count in units.items():
        levels[key] = replace(levels[key], allocated=levels[key].allocated + count)
        if levels[key].available < 0:
            raise WrongAnswer(f"more units of {key} are planned than are in stock")


def _locations(count: int) -> dict[str, Location]:
    """One warehouse for 20 stores, all over the United States."""
    dice = random.Random(SEED)
    return {f"location-{number:03}": _location(dice, f"location-{number:03}", number) for number in range(count)}


def _location(dice: random.Random, key: str, number: int) -> Location:
    return Location(
        key,
        "store" if number % 20 else "warehouse",
        country="US",
        coordinates=_point(dice),
        offers_pickup=bool(number % 20),
        priority=number,
    )


def _product(sku: str) -> Product:
    return Product(sku, price=Decimal(20), velocity_per_day=3.0, has_dimensions=True, has_image=True)


def _level(dice: random.Random, now: datetime, sku: str, key: str) -> StockLevel:
    counted_time = now - timedelta(minutes=dice.randrange(1, 300))
    return StockLevel(
        sku, key, dice.randrange(10, 100), as_of_time=counted_time, counted_time=counted_time, count_confidence=0.95
    )


def _order(dice: random.Random, order_id: str, skus: Sequence[str]) -> Order:
    lines = tuple([OrderLine(str(number), sku, 1, Decimal(20)) for number, sku in enumerate(skus)])
    destination = Destination("US", "TX", str(dice.randrange(10_000, 99_999)), _point(dice))
    return Order(CHANNEL.id, order_id, lines, Commitment.SOLD, destination=destination)


def _point(dice: random.Random) -> Coordinates:
    return Coordinates(dice.uniform(30, 45), dice.uniform(-120, -80))
