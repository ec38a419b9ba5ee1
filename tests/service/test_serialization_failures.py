"""Every write is made again when PostgreSQL cannot serialize it, as distributed databases say far more often."""

from __future__ import annotations

import asyncio

import pytest

from tests.retailer import HOLD, Retailer

TABLES = ("allocation", "shipment", "promise", "stock_movement", "stock_level", "order_event", "request")
CONFLICTS = """
    CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('conflicts') % 307 = 0 THEN RAISE 'a conflict that a test made up' USING ERRCODE = '40001'; END IF;
        RETURN NEW;
    END $$
"""
"""Each 307th row fails: more than any transaction of this test writes, so that no retry fails too."""


@pytest.mark.long
async def test_each_kind_of_write_survives_conflicts_of_transactions(retailer: Retailer) -> None:
    await retailer.set_up()
    await retailer.stock({("MUG", "dc"): 200, ("MUG", "store"): 100})
    await retailer.sql("CREATE SEQUENCE conflicts")
    await retailer.sql("GRANT USAGE ON SEQUENCE conflicts TO PUBLIC")
    await retailer.sql(CONFLICTS)
    for table in TABLES:
        await retailer.sql(
            f"CREATE TRIGGER conflict BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION conflict()"
        )

    await asyncio.gather(*(life(retailer, number) for number in range(24)))

    assert retailer.metric("database_retries_total") > 0
    assert (await retailer.ledger()).balanced
    assert (await retailer.sql("SELECT sum(allocated + held)::int AS promised FROM stock_level"))[0][
        "promised"
    ] == 12 + 12


async def life(retailer: Retailer, number: int) -> None:
    """A cart that is paid or emptied; an order that ships or is cancelled; a count of another product's stock."""
    cart = await retailer.allocate(f"CART-{number}", {"MUG": 1}, HOLD)
    order = await retailer.allocate(f"ORDER-{number}", {"MUG": 1})
    if number % 2:
        await retailer.confirm(cart.allocation_id)
        await retailer.cancel(order.allocation_id, {order.lines[0].line_id: 1})
    else:
        await retailer.release(cart.allocation_id)
        await retailer.accept(order.shipments[0])
    await retailer.stock({(f"CUP-{number}", "dc"): 5})
