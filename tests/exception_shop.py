"""Shared by tests of exceptions: rules that assign exceptions to desks, oversold orders and calls of the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.type.money_pb2 import Money
from prometheus_client import CollectorRegistry

from service.app.wiring import new_id
from service.database.database import Database
from service.dependencies import Dependencies
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies
from service.resolution.exception_sweep import ExceptionSweep
from service.settings import Settings
from tests.retailer import Retailer, change, movement
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    exception_pb2,
    exception_service_pb2 as exception_pb,
    stock_service_pb2 as stock_pb,
)

Record = exception_pb2.ExceptionRecord
REROUTED, BACKORDERED = exception_pb2.EXCEPTION_RESOLUTION_REROUTED, exception_pb2.EXCEPTION_RESOLUTION_BACKORDERED
CANCELLED, APPROVED = exception_pb2.EXCEPTION_RESOLUTION_CANCELLED, exception_pb2.EXCEPTION_RESOLUTION_APPROVED
COMPLETED, OTHER = exception_pb2.EXCEPTION_RESOLUTION_COMPLETED, exception_pb2.EXCEPTION_RESOLUTION_OTHER
MAPPED = exception_pb2.EXCEPTION_RESOLUTION_MAPPED
HIGH_VALUE = Money(currency_code="USD", units=1000)

ROUTING = """\
kind: routing
policies:
  - name: ship
    position: 100
    rank: [fewest_shipments]
    review:
      - {name: dear, when: {order.value: {at_least: 1000}}}
      - {name: urgent, when: {order.tags: {contains: urgent}}}
"""
OWNERS = """\
kind: exception
rules:
  - {name: oversell, position: 10, when: {exception.kind: oversell}, do: review, owner: desk, due_in: 2h,
     escalate_to: lead}
  - {name: kept, position: 20, when: {exception.kind: review, order.tags: {contains: keep}}, do: hold, owner: desk,
     due_in: 1h}
  - {name: rest, position: 100, do: review, owner: operations, due_in: 1d}
"""


class Replica:
    """The exception sweep of another service on the same database, run by the test."""

    def __init__(self, sweep: ExceptionSweep, metrics: Metrics) -> None:
        self._sweep = sweep
        self._metrics = metrics

    async def sweep(self) -> None:
        await self._sweep.run()

    def metric(self, name: str, **labels: str) -> float:
        return self._metrics.registry.get_sample_value(f"truestock_{name}", labels) or 0.0


@asynccontextmanager
async def replica_on(database_url: str, rules: Path) -> AsyncIterator[Replica]:
    metrics = Metrics(CollectorRegistry())
    folder = ActivePolicies(rules, metrics)
    database = await Database.open(database_url, metrics)
    try:
        deps = Dependencies(Settings(), database, folder, metrics, new_id)
        yield Replica(ExceptionSweep(deps), metrics)
    finally:
        await database.close()


def counted(name: str, *services: Retailer | Replica, **labels: str) -> float:
    """The sum of a counter over all services; any of them may have done the work."""
    return sum(service.metric(name, **labels) for service in services)


def write_rules(folder: Path) -> Path:
    """A rules folder that assigns exceptions to desks."""
    rules = folder / "rules"
    rules.mkdir()
    (rules / "routing.yaml").write_text(ROUTING)
    (rules / "owners.yaml").write_text(OWNERS)
    return rules


async def oversold(shop: Retailer, order_id: str = "A-1", units: int = 5) -> tuple[allocation_pb.Allocation, Record]:
    """An order of more mugs than there are, and its exception."""
    sold = await shop.allocate(order_id, {"MUG": units})
    (raised,) = (await shop.get(sold.allocation_id)).exceptions
    return sold, raised


async def get_exception(shop: Retailer, exception_id: str) -> exception_pb.GetExceptionResponse:
    response: exception_pb.GetExceptionResponse = await shop.exceptions.GetException(
        exception_pb.GetExceptionRequest(exception_id=exception_id)
    )
    return response


async def assign(shop: Retailer, exception_id: str, **fields: Any) -> Record:
    request = exception_pb.AssignExceptionRequest(exception_id=exception_id, actor="boss", **fields)
    assigned: Record = (await shop.exceptions.AssignException(request)).exception
    return assigned


async def report_failure(shop: Retailer, **fields: Any) -> Record:
    failure = {"source": "shopify-adapter", "description": "the price was refused"} | fields
    request = exception_pb.ReportSyncFailureRequest(**failure)
    raised: Record = (await shop.exceptions.ReportSyncFailure(request)).exception
    return raised


async def receive(shop: Retailer, units: int, location_id: str = "dc") -> None:
    received = movement(stock_pb.MOVEMENT_KIND_RECEIVED, units)
    await shop.record(change("MUG", location_id, at=datetime.now(UTC), movement=received))


def line_counts(order: allocation_pb.Allocation) -> tuple[int, int, int, int]:
    """(promised, short, backordered, cancelled) units of the only line."""
    (line,) = order.lines
    return line.promised_count, line.short_count, line.backordered_count, line.cancelled_count
