"""Who must resolve the exceptions of an order, and how, through the API."""

from __future__ import annotations

from datetime import UTC, timedelta
from io import StringIO
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from google.type.money_pb2 import Money
from rich.console import Console

from policies.decisions.exception_policy import ExceptionHandling
from policies.source.problems import Source
from service.app.wiring import new_id
from service.cli.views.order_views import print_explanation
from service.database.database import plain_url
from service.orders.order_exceptions import OrderException
from service.orders.order_writer import OrderWrites, write
from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import HOLD, Retailer, promised
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    exception_pb2,
    order_pb2,
)

ROUTING = """\
kind: routing
policies:
  - name: ship
    position: 100
    rank: [fewest_shipments]
    max_shipments: 1
    review: [{name: dear, when: {order.value: {at_least: 1000}}}]
"""
OWNERS = """\
kind: exception
rules:
  - {name: launch, position: 10, when: {exception.kind: oversell, product.tags: {contains: launch}}, do: backorder,
     owner: brand-desk, due_in: 2h, escalate_to: operations-lead}
  - {name: pick-up, position: 20, when: {location.id: dc}, do: transfer, owner: stores, due_in: 30m}
  - {name: review, position: 30, when: {exception.kind: review, channel.id: web}, do: hold, owner: desk, due_in: 1h}
  - {name: rest, position: 100, do: review, owner: operations, due_in: 1d}
"""


@pytest.fixture
async def shop(retailers: RetailerMaker, tmp_path: Path) -> Retailer:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "routing.yaml").write_text(ROUTING)
    (folder / "owners.yaml").write_text(OWNERS)
    return await retailers.make(folder)


async def exceptions_of(shop: Retailer, order: allocation_pb.Allocation) -> list[exception_pb2.ExceptionRecord]:
    return list((await shop.get(order.allocation_id)).exceptions)


async def test_an_oversell_goes_to_the_owner_whom_the_rule_names_in_time(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 1})
    launch = catalog_pb.Product(sku="MUG", tags=["launch"])
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[launch]))

    sold = await shop.allocate("A-1", {"MUG": 3})
    (exception,) = await exceptions_of(shop, sold)

    assert exception.state == exception_pb2.ExceptionRecord.STATE_RESOLVED
    assert (exception.resolution, exception.resolved_by) == (exception_pb2.EXCEPTION_RESOLUTION_BACKORDERED, "policy")
    evidence = "MUG: not told, no figure was published to web"
    assert (exception.kind, exception.description) == ("oversell", f"2 units short: MUG. {evidence}.")
    assert (exception.owner, exception.action, exception.escalate_to) == ("brand-desk", "backorder", "operations-lead")
    assert exception.rule == "launch (rules/owners.yaml:3)"
    assert exception.due_time.ToDatetime() - sold.create_time.ToDatetime() == timedelta(hours=2)


async def test_an_exception_whose_action_only_a_person_can_take_needs_a_person(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 1})

    sold = await shop.allocate("A-1", {"MUG": 3}, pickup_location_id="dc", method=order_pb2.FULFILLMENT_METHOD_PICKUP)
    (exception,) = await exceptions_of(shop, sold)

    assert (exception.owner, exception.action) == ("stores", "transfer")
    assert sold.needs_person
    assert sold.outcome == order_pb2.OUTCOME_PARTLY_ALLOCATED
    assert promised(sold) == {"dc": 1}
    assert shop.metric("manual_interventions_total", channel="web", reason="oversell") == 1


async def test_shortages_that_different_rules_handle_are_different_exceptions(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 1, ("BOWL", "dc"): 0, ("CUP", "dc"): 0})
    launch = catalog_pb.Product(sku="MUG", tags=["launch"])
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[launch]))

    sold = await shop.allocate("A-1", {"MUG": 2, "BOWL": 1, "CUP": 3})

    exceptions = {(x.owner, x.description) for x in await exceptions_of(shop, sold)}
    text = "not told, no figure was published to web"
    assert exceptions == {
        ("brand-desk", f"1 unit short: MUG. MUG: {text}."),
        ("operations", f"4 units short: BOWL, CUP. BOWL: {text}; CUP: {text}."),
    }
    assert shop.metric("manual_interventions_total", channel="web", reason="oversell") == 1


async def test_units_beyond_the_limit_on_shipments_are_unfillable(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 2, ("MUG", "north"): 1})

    sold = await shop.allocate("A-1", {"MUG": 3})
    (exception,) = await exceptions_of(shop, sold)

    assert (exception.kind, exception.owner, exception.escalate_to) == ("unfillable", "operations", "")
    assert shop.metric("unfillable_units_total", channel="web") == sold.shortages[0].unit_count


async def test_a_plan_that_needs_review_has_an_owner(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 2})

    sold = await shop.allocate("A-1", {"MUG": 1}, order_value=Money(currency_code="USD", units=1000))
    (exception,) = await exceptions_of(shop, sold)

    assert sold.outcome == order_pb2.OUTCOME_NEEDS_REVIEW
    assert (exception.kind, exception.owner, exception.action) == ("review", "desk", "hold")
    assert exception.description == "review rule dear (rules/routing.yaml:7)"


@pytest.mark.parametrize("by_confirming", [True, False])
async def test_a_cart_that_needs_review_has_an_owner_once_it_is_sold(shop: Retailer, *, by_confirming: bool) -> None:
    await shop.stock({("MUG", "dc"): 2})
    value = Money(currency_code="USD", units=1000)
    cart = await shop.allocate("A-1", {"MUG": 1}, HOLD, order_value=value)
    before = await exceptions_of(shop, cart)

    sold = (
        await shop.confirm(cart.allocation_id)
        if by_confirming
        else await shop.allocate("A-1", {"MUG": 1}, order_value=value)
    )
    (exception,) = await exceptions_of(shop, sold)

    assert before == []
    assert sold.needs_person
    assert (exception.kind, exception.owner, exception.rule) == ("review", "desk", "review (rules/owners.yaml:6)")


async def test_without_exception_rules_operations_has_a_day_to_act(retailers: RetailerMaker) -> None:
    shop = await retailers.make(PLAIN_RULES)
    await shop.stock({("MUG", "dc"): 1})

    sold = await shop.allocate("A-1", {"MUG": 2})
    (exception,) = await exceptions_of(shop, sold)

    assert (exception.owner, exception.action, exception.rule) == ("operations", "review", "built-in")
    assert exception.due_time.ToDatetime() - sold.create_time.ToDatetime() == timedelta(days=1)


async def test_an_order_without_trouble_has_no_exceptions(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 1})

    sold = await shop.allocate("A-1", {"MUG": 1})
    refused = await shop.allocate("A-2", {"MUG": 1}, HOLD)

    assert await exceptions_of(shop, sold) == []
    assert await exceptions_of(shop, refused) == []


async def test_explain_shows_the_owner_and_the_rule_of_an_exception(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 1})
    sold = await shop.allocate("A-1", {"MUG": 2})
    console = Console(width=200, file=StringIO())

    print_explanation(console, await shop.get(sold.allocation_id))

    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    assert "Exceptions" in text
    assert "operations" in text
    assert "rest (rules/owners.yaml:7)" in text


async def test_an_exception_that_a_policy_resolves_at_once_is_stored_as_resolved_by_policy(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 1})
    sold = await shop.allocate("A-1", {"MUG": 1})
    now = sold.update_time.ToDatetime(tzinfo=UTC)
    handling = ExceptionHandling("rule", Source("rules/owners.yaml", 7), "backorder", "desk", timedelta(hours=1), None)
    resolved = OrderException(
        "oversell", "2 units short: MUG", handling, now, "1", resolution="backordered", sku="MUG", line_ids=("1", "2")
    )
    writes = OrderWrites()
    writes.raise_exceptions(UUID(sold.allocation_id), [resolved], now, new_id)

    connection = await asyncpg.connect(plain_url(shop.database_url))
    await write(connection, writes)
    await connection.close()
    (exception,) = await exceptions_of(shop, sold)

    assert (exception.state, exception.needs_person) == (exception_pb2.ExceptionRecord.STATE_RESOLVED, False)
    assert (exception.resolution, exception.resolved_by) == (exception_pb2.EXCEPTION_RESOLUTION_BACKORDERED, "policy")
    assert exception.resolve_time == exception.create_time
    rows = await shop.sql("SELECT line_ids FROM exception")
    assert [row["line_ids"] for row in rows] == [["1", "2"]]
    events = await shop.sql("SELECT event, description FROM exception_event ORDER BY id")
    assert [tuple(row) for row in events] == [
        ("raised", "2 units short: MUG"),
        ("resolved", "Resolved: backordered."),
    ]


async def test_explain_shows_when_no_exception_is_open_any_more(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 1})
    sold = await shop.allocate("A-1", {"MUG": 2})
    (exception,) = await exceptions_of(shop, sold)
    await shop.resolve(exception.exception_id, exception_pb2.EXCEPTION_RESOLUTION_CANCELLED)
    console = Console(width=200, file=StringIO())

    print_explanation(console, await shop.get(sold.allocation_id))

    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    assert "This order needed manual intervention; it has no open exceptions." in text
    assert "cancelled by anna" in text


async def test_a_rejection_whose_units_are_cancelled_is_superseded(shop: Retailer) -> None:
    await shop.stock({("MUG", "south"): 2, ("CUP", "south"): 1})
    sold = await shop.allocate("A-1", {"MUG": 2, "CUP": 1})
    await shop.reject(sold.shipments[0], "no_capacity", {"1": 2})

    await shop.cancel(sold.allocation_id, {"1": 1})
    (before,) = await exceptions_of(shop, sold)
    await shop.cancel(sold.allocation_id, {"1": 1})
    (after,) = await exceptions_of(shop, sold)

    assert before.state == exception_pb2.ExceptionRecord.STATE_OPEN
    assert (after.kind, after.state) == ("rejected", exception_pb2.ExceptionRecord.STATE_SUPERSEDED)


async def test_a_review_is_superseded_once_everything_has_shipped(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 2})
    sold = await shop.allocate("A-1", {"MUG": 2}, order_value=Money(currency_code="USD", units=1000))

    await shop.ship(sold.shipments[0], {"1": 1})
    (before,) = await exceptions_of(shop, sold)
    shipped = await shop.ship(sold.shipments[0])
    (after,) = await exceptions_of(shop, sold)

    assert before.state == exception_pb2.ExceptionRecord.STATE_OPEN
    assert after.state == exception_pb2.ExceptionRecord.STATE_SUPERSEDED
    assert shipped.outcome == order_pb2.OUTCOME_ALLOCATED
