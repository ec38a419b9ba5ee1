"""Memory of the service with a large catalog, and how it grows with the calls that it has answered."""

from __future__ import annotations

import psutil

from bench.bench_calls import ALLOCATE, CHECK, CallStream
from bench.bench_report import Ratio, Report
from bench.bench_retailer import BenchRetailer, open_retailer
from bench.load_generator import LoadGenerator, LoadTask, running_generator
from bench.product_server import running_product
from bench.rounds import Figures, Pace
from bench.server_process import ServerProcess
from service.database.database import single_connection

NAME = "memory"
PACE = Pace(rounds=1, seconds=10.0)
PRODUCTS = 100_000
FEW, MANY = 10_000, 1_000_000
"""Answered calls after which memory is compared."""
CALLERS = 64
ASKED = 500
"""Products that calls ask for and order, spread over the catalog."""
SKU = "P"

_COPY = (
    """
    INSERT INTO product SELECT new.* FROM (SELECT * FROM product) AS old, generate_series(1, $1::int) AS n,
    LATERAL jsonb_populate_record(NULL::product, to_jsonb(old) || jsonb_build_object('sku', old.sku || n)) AS new
    """,
    """
    INSERT INTO stock_level SELECT new.* FROM (SELECT * FROM stock_level) AS old, generate_series(1, $1::int) AS n,
    LATERAL jsonb_populate_record(NULL::stock_level, to_jsonb(old) || jsonb_build_object('sku', old.sku || n)) AS new
    """,
    """
    INSERT INTO stock_movement
    SELECT new.* FROM (SELECT * FROM stock_movement) AS old, generate_series(1, $1::int) AS n,
    LATERAL jsonb_populate_record(NULL::stock_movement, to_jsonb(old) || jsonb_build_object(
        'id', gen_random_uuid(), 'sku', old.sku || n, 'change_id', old.change_id || n)) AS new
    """,
)


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Calls of CheckAvailability and AllocateOrder in turns of `pace.seconds`. Raises WrongAnswer."""
    async with running_generator() as generator, open_retailer(url) as retailer:
        await retailer.add_products([SKU])
        await _copy_product(url)
        async with running_product(url) as server:
            few = await _answer(retailer, generator, server, FEW, pace)
            many = await _answer(retailer, generator, server, MANY - FEW, pace)
        return Report(
            name=NAME,
            pace=pace,
            variants={"few calls": [few], "many calls": [many]},
            ratios=[
                Ratio("rss_after_1e6_calls_vs_1e4", (many["rss_mib"] / few["rss_mib"],), at_most=1.05),
                Ratio("rss_mib", (many["rss_mib"],), at_most=250.0),
            ],
            settings={**await retailer.durability_settings(), "products": PRODUCTS, "few": FEW, "many": MANY},
            verified=await retailer.verify(),
        )


async def _copy_product(url: str) -> None:
    async with single_connection(url) as connection:
        for statement in _COPY:
            await connection.execute(statement, PRODUCTS - 1)
        await connection.execute("ANALYZE")


async def _answer(
    retailer: BenchRetailer, generator: LoadGenerator, server: ServerProcess, calls: int, pace: Pace
) -> Figures:
    """The memory after so many calls, half of them orders."""
    skus = [f"{SKU}{number}" for number in range(1, PRODUCTS, max(1, PRODUCTS // ASKED))]
    checks = CallStream("check", CHECK, skus[:5], callers=CALLERS // 2)
    orders = CallStream("allocate", ALLOCATE, skus, callers=CALLERS // 2)
    answered = 0
    while answered < calls:
        figures = await generator.run(LoadTask(server.address, pace.seconds, [checks, orders]))
        retailer.count_answers(orders, int(figures["allocate"]["calls"]))
        answered += int(figures["check"]["calls"] + figures["allocate"]["calls"])
    return {"calls": answered, "rss_mib": psutil.Process(server.pid).memory_info().rss / 2**20}
