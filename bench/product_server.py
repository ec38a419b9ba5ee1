"""Truestock in a process of its own, exactly as `truestock serve` runs it: event loop, collector, background work."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from bench.bench_retailer import RULES
from bench.server_process import ServerProcess, running_module
from service import limits
from service.app.process import serve
from service.settings import Settings


def running_product(
    url: str,
    *,
    batch_orders: int | None = None,
    workers: int = 1,
    settings: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> AbstractAsyncContextManager[ServerProcess]:
    """The service on a migrated database, with further settings. `batch_orders` are the orders of one transaction,
    instead of the usual limit: with 1, orders are not batched. `workers` are its processes that answer calls. `log` is
    the file of its log, instead of the terminal.
    """
    orders, further = str(batch_orders or limits.BATCH_ORDERS), json.dumps(dict(settings or {}))
    return running_module("bench.product_server", url, orders, str(workers), further, str(log or ""))


def _serve(url: str, batch_orders: str, workers: str, further: str, log: str) -> None:
    if log:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), sys.stderr.fileno())
    limits.BATCH_ORDERS = int(batch_orders)
    # The log is the terminal on which the benchmarks print.
    settings = Settings(
        **{"log_calls_per_second": 0, **json.loads(further)},
        address="127.0.0.1:0",
        metrics_address="127.0.0.1:0",
        workers=int(workers),
        database_url=url,
        rules=RULES,
    )
    serve(settings)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
