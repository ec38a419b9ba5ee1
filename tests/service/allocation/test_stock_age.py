"""How old the stock figures are that answers rest on."""

from __future__ import annotations

from tests.retailer import Retailer


async def test_an_order_rests_on_the_oldest_figure_that_ships_it_and_an_availability_on_the_oldest_with_stock(
    retailer: Retailer,
) -> None:
    await retailer.stock({("MUG", "dc"): 5, ("BOWL", "dc"): 5, ("TRAY", "dc"): 0})
    for sku, age in (("MUG", "3 hours"), ("BOWL", "1 minute"), ("TRAY", "9 days")):
        await retailer.sql(f"UPDATE stock_level SET as_of_time = now() - interval '{age}' WHERE sku = '{sku}'")

    await retailer.allocate("A-1", {"MUG": 1, "BOWL": 1})
    await retailer.allocate("A-2", {"BOWL": 1})
    await retailer.allocate("A-3", {"TRAY": 1})
    await retailer.sellable("TRAY")
    await retailer.sellable("MUG")

    def observed(name: str, answer: str, **labels: str) -> float:
        return retailer.metric(f"stock_age_seconds_{name}", answer=answer, **labels)

    assert observed("count", "order") == 2
    assert observed("bucket", "order", le="300.0") == 1
    assert 3 * 3_600 <= observed("sum", "order") < 3 * 3_600 + 200
    assert observed("count", "availability") == 1
    assert observed("bucket", "availability", le="3600.0") == 0
