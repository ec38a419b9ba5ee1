"""How many statements a new order costs: each of them is a round trip to the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.database.database import Connection, Database
from tests.retailer import HOLD, SOLD, Retailer, request_id

BEGIN_AND_COMMIT = 2


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """A service with stock that knows the catalog of its decisions to be stored."""
    await retailer.stock({(sku, "dc"): 90 for sku in ("CUP", "MUG", "POT")})
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
    ],
    ids=["sold", "held", "three lines", "short: evidence is read", "with a request id, which is claimed"],
)
async def test_a_new_order_costs_few_statements(
    shop: Retailer, statements: list[str], lines: dict[str, int], commitment: int, fields: dict[str, Any], expected: int
) -> None:
    await shop.allocate("A-1", lines, commitment, **fields)

    # On a new connection the driver asks for the types that it does not know yet.
    own = [statement for statement in statements if not any(x in statement for x in ("typeinfo", "set_config"))]
    assert (own[0], own[-1]) == ("BEGIN ISOLATION LEVEL READ COMMITTED;", "COMMIT;")
    assert len(own) - BEGIN_AND_COMMIT == expected, own
