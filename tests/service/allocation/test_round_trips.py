"""How many statements a new order costs, each of them a round trip to the database, and what planning them costs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.database.database import Connection, Database
from tests.retailer import HOLD, SOLD, Retailer, request_id
from truestock.v1 import catalog_service_pb2 as catalog_pb

BEGIN_AND_COMMIT = 2
CUSTOM_PLANS = 5
"""Times that PostgreSQL plans a prepared statement for its parameters before it may keep a plan."""


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """A service with stock that knows the catalog of its decisions to be stored."""
    await retailer.stock({(sku, "dc"): 90 for sku in ("CUP", "MUG", "POT")} | {("PIN", "studio"): 90})
    await retailer.locations("studio", capacity=catalog_pb.Capacity(orders_per_day=90))
    for order_id in ("WARM-UP-1", "WARM-UP-2"):
        await retailer.allocate(order_id, {"MUG": 1})
    return retailer


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that allocations send, as they are sent; COPY is none."""
    sent: list[str] = []
    session = Database.session

    @asynccontextmanager
    async def logged(database: Database, operation: str) -> AsyncIterator[Connection]:
        async with session(database, operation) as connection:
            if operation != "allocate":
                yield connection
            else:
                with connection.query_logger(lambda record: sent.append(record.query)):
                    yield connection

    monkeypatch.setattr(Database, "session", logged)
    return sent


@pytest.mark.parametrize(
    ("lines", "commitment", "fields", "expected"),
    [
        ({"MUG": 1}, SOLD, {}, 5),
        ({"MUG": 1}, HOLD, {}, 5),
        ({"CUP": 1, "MUG": 2, "POT": 3}, SOLD, {}, 5),
        ({"MUG": 500}, SOLD, {}, 7),
        ({"MUG": 1}, SOLD, {"request_id": request_id()}, 6),
        ({"MUG": 1, "PIN": 1}, SOLD, {}, 5),
    ],
    ids=[
        *("sold", "held", "three lines", "short: evidence is read", "with a request id, which is claimed"),
        "at a location with a capacity",
    ],
)
async def test_a_new_order_costs_few_statements(
    shop: Retailer, statements: list[str], lines: dict[str, int], commitment: int, fields: dict[str, Any], expected: int
) -> None:
    await shop.allocate("A-1", lines, commitment, **fields)

    # On a new connection the driver asks for the types that it does not know yet.
    own = [statement for statement in statements if not _is_of_driver(statement)]
    assert (own[0], own[-1]) == ("BEGIN ISOLATION LEVEL READ COMMITTED;", "COMMIT;")
    assert len(own) - BEGIN_AND_COMMIT == expected, own


@pytest.fixture
def new_plans(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[int, str], int]:
    """How often PostgreSQL planned each statement that a connection ran often to allocate or to read orders."""
    counts: dict[tuple[int, str], int] = {}
    sent: set[str] = set()
    session = Database.session

    @asynccontextmanager
    async def counted(database: Database, operation: str) -> AsyncIterator[Connection]:
        async with session(database, operation) as connection:
            if operation not in ("allocate", "get"):
                yield connection
                return
            with connection.query_logger(lambda record: sent.add(record.query)):
                yield connection
            for row in await connection.fetch("SELECT * FROM pg_prepared_statements"):
                planned, statement = row["custom_plans"], row["statement"]
                if statement in sent and planned + row["generic_plans"] > CUSTOM_PLANS and not _is_of_driver(statement):
                    counts[connection.get_server_pid(), statement] = planned

    monkeypatch.setattr(Database, "session", counted)
    return counts


@pytest.mark.parametrize("sku", ["MUG", "PIN"], ids=["at any location", "at one with a capacity"])
async def test_statements_of_orders_are_not_planned_for_every_order(
    shop: Retailer, new_plans: dict[tuple[int, str], int], sku: str
) -> None:
    for number in range(4 * CUSTOM_PLANS):
        order = await shop.allocate(f"A-{number}", {sku: 1})
        await shop.get(order.allocation_id)

    assert any("FOR NO KEY UPDATE" in statement for _, statement in new_plans)
    assert any("FROM order_line" in statement for _, statement in new_plans)
    assert max(new_plans.values()) <= CUSTOM_PLANS, new_plans


def _is_of_driver(statement: str) -> bool:
    return "typeinfo" in statement or "set_config" in statement
