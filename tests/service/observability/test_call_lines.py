"""The lines of a running service's calls."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from service.app.application import running
from tests.conftest import PLAIN_RULES, service_settings
from tests.retailer import HOLD, Retailer, refused


@pytest.fixture
async def lines(database_url: str) -> list[Any]:
    """The lines of an order, of one for an unknown product, and of a look at the stock. All of them count as slow."""
    settings = service_settings(database_url, PLAIN_RULES)
    settings = settings.model_copy(update={"log_calls_per_second": 20.0, "slow_call_seconds": 1e-9})
    async with running(settings) as service, Retailer.connect(service, database_url) as shop:
        await shop.set_up()
        await shop.stock({("MUG", "dc"): 5})
        with capture_logs() as captured:
            await shop.allocate("Erika Mustermann", {"MUG": 1})
            await refused(shop.allocate("A-2", {"NOTHING": 1}, HOLD))
            await shop.sellable("MUG")
    return [line for line in captured if "method" in line]


async def test_each_call_is_a_line_and_a_slow_one_says_where_its_time_went(lines: list[Any]) -> None:
    order, unknown, availability = lines

    assert [line["code"] for line in lines] == ["OK", "NOT_FOUND", "OK"]
    assert order["decision_id"]
    assert order["allocation_id"]
    assert order["database_milliseconds"] > 0
    assert order["decision_milliseconds"] > 0
    parts = [value for name, value in order.items() if name.endswith("_milliseconds")]
    assert sum(parts) == pytest.approx(order["milliseconds"], abs=0.5)
    assert availability["database_milliseconds"] > 0
    assert "Erika" not in str(lines)
    assert "NOTHING" not in str(unknown)
