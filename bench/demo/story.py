"""The steps of the demo: what happens, what Truestock answers, and that every figure on the screen adds up."""

from __future__ import annotations

import asyncio
import difflib
import re
import time
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from rich.text import Text

from bench.demo.figures import DemoFigures
from bench.demo.page import DemoPage
from bench.demo.retailer import (
    LOCATION_IDS,
    SKU,
    DemoRetailer,
    allocated_units,
    open_locations,
    short_units,
)
from bench.demo.unit_groups import MAY_SELL, DemoError, check_sum
from service.app.application import Running
from service.cli.console import count
from service.sample.sample_retailer import WAREHOUSE
from truestock.v1.allocation_service_pb2 import Allocation, CancellationRequest
from truestock.v1.order_pb2 import COMMITMENT_HOLD, COMMITMENT_SOLD

OWN_CHANNEL, LAUNCH = "shopify", "DUN-1701-BLA"
"""Our own shop, and a new product: oversold units of it go on backorder."""
STORES = tuple(location_id for location_id in LOCATION_IDS if location_id != WAREHOUSE)
SHOPPERS = 200
CART_SECONDS = 2
PARCEL = "1Z999AA10123456784"
RULE_FILE = "buffers/channels.yaml"
_PERCENT = re.compile(r"percent: (\d+)")


@dataclass(slots=True)
class Story:
    """The running service, its sample retailer, and the rules folder, which the demo edits."""

    service: Running
    retailer: DemoRetailer
    rules: Path
    page: DemoPage
    figures: DemoFigures
    sold_units: int = 0
    oversold_units: int = 0

    async def run(self) -> None:
        """Runs all steps in order. Raises SumError or DemoError if one does not show what it says."""
        await self.count_the_last_units()
        await self.sell_the_last_units()
        await self.sell_too_many()
        await self.hold_expires()
        await self.edit_rule()
        await self.handle_exceptions()
        await self.cancel_an_order_that_is_leaving()

    async def count_the_last_units(self) -> None:
        """A stocktake finds few units."""
        self.page.title("The last units")
        counted = {WAREHOUSE: self.figures.warehouse, **dict.fromkeys(STORES, self.figures.store)}
        await self.retailer.count(counted)
        for location in (await self.retailer.availability(internal=False)).locations:
            if location.reasons:
                raise DemoError(f"{location.location_id} is blocked right after its count: {location.reasons[0]}")
        groups = await self.retailer.unit_groups()
        check_sum("the units counted", groups, sum(counted.values()))
        self.page.say(
            f"A stocktake counts {count(sum(counted.values()), 'unit')} of {SKU}: {self.figures.warehouse} in the "
            f"warehouse and {self.figures.store} in each of {count(len(STORES), 'store')}. Stores keep some for "
            f"walk-in customers, and TikTok gets fewer than all others together have: a video can sell faster than "
            f"stock updates arrive."
        )
        self.page.groups({"units": groups})

    async def sell_the_last_units(self) -> None:
        """All shoppers order at once: each tries to hold a unit, then those with a hold pay."""
        self.page.title(f"A video goes viral: {SHOPPERS} shoppers check out at once")
        published = (await self.retailer.availability()).sellable_count
        started = time.perf_counter()
        orders = await asyncio.gather(*(self.retailer.order(COMMITMENT_HOLD) for _ in range(SHOPPERS)))
        seconds = time.perf_counter() - started
        held = [order for order in orders if order.state == Allocation.STATE_HELD]
        paid = await asyncio.gather(*(self.retailer.pay(order) for order in held))
        if allocated_units(paid) != len(paid) or len(paid) > published:
            raise DemoError(f"{len(paid)} shoppers paid for {allocated_units(paid)} of {published} published units")
        self.sold_units += len(paid)
        locations = {shipment.location_id for order in paid for shipment in order.shipments}
        self.page.say(
            f"{self.page.measured(f'Answered in {seconds:.1f} s: ')}{count(len(paid), 'shopper')} got a unit and paid, "
            f"{count(SHOPPERS - len(paid), 'shopper was', 'shoppers were')} refused at once, none was oversold. "
            f"The units ship from {count(len(locations), 'location')}."
        )
        self.page.groups({"units": await self.retailer.unit_groups()})

    async def sell_too_many(self) -> None:
        """The channel sells more before it receives the new availability: buffers supply those orders."""
        available = (await self.retailer.availability()).available_count
        late_orders = available + self.figures.oversold
        self.page.title(f"TikTok sells {late_orders} more before it shows the new availability")
        orders = await asyncio.gather(*(self.retailer.order(COMMITMENT_SOLD) for _ in range(late_orders)))
        supplied, (oversold, kept) = allocated_units(orders), short_units(orders)
        check_sum("units of late orders", {"supplied": supplied, "oversold": oversold, "kept": kept}, late_orders)
        if oversold != max(0, late_orders - available):
            raise DemoError(f"{oversold} of {late_orders} units are oversold, but {available} were there")
        self.sold_units += late_orders
        self.oversold_units += oversold
        causes = {shortage.cause.replace("_", " ") for order in orders for shortage in order.shortages}
        self.page.say(
            f"These orders are paid, so they may use the buffers. {count(available, 'unit was', 'units were')} there: "
            f"{supplied} supplied, [bold]{oversold} oversold[/]"
            + (f" because they are nowhere (cause: {', '.join(sorted(causes))})." if causes else ".")
        )
        self.page.groups({"units": await self.retailer.unit_groups()})

    async def hold_expires(self) -> None:
        """A shopper abandons a cart and its hold expires."""
        self.page.title("A truck arrives, and a shopper abandons a cart")
        await self.retailer.receive(
            {WAREHOUSE: self.figures.warehouse_delivery, **dict.fromkeys(STORES, self.figures.store_delivery)}
        )
        before = await self.retailer.unit_groups()
        cart = await self.retailer.order(COMMITMENT_HOLD, units=self.figures.cart, hold_seconds=CART_SECONDS)
        during = await self.retailer.unit_groups()
        await asyncio.sleep(max(0.0, cart.expire_time.ToDatetime(UTC).timestamp() - time.time()) + 0.1)
        after = await self.retailer.unit_groups()
        if after != before:
            raise DemoError(f"the hold has expired, but its units are not free again: {before}, {after}")
        self.page.say(
            f"The warehouse receives {self.figures.warehouse_delivery} units and each store "
            f"{self.figures.store_delivery}. A cart holds {count(self.figures.cart, 'unit')} for "
            f"{count(CART_SECONDS, 'second')}."
        )
        self.page.groups({"before": before, "in the cart": during, "expired": after})

    async def edit_rule(self) -> None:
        """A planner raises TikTok's buffer in a rule file."""
        self.page.title("A planner raises TikTok's buffer while the service runs")
        before, revision = await self.retailer.unit_groups(), self.service.policy_revision
        for line in self._edit_rule_file():
            self.page.line(Text(line, style={"-": "red", "+": "green"}.get(line[0], "")))
        new_revision, seconds = await self.retailer.revision_after(revision)
        after = await self.retailer.unit_groups()
        if after[MAY_SELL] >= before[MAY_SELL]:
            raise DemoError(f"TikTok may sell {before[MAY_SELL]} before the edit and {after[MAY_SELL]} after it")
        self.page.say(
            f"In force{self.page.measured(f' after {seconds:.1f} s')}: TikTok may sell {before[MAY_SELL]} before and "
            f"[bold]{after[MAY_SELL]}[/] after (rules revision {revision[:8]}, then {new_revision[:8]})."
        )
        self.page.groups({"before": before, "after": after})

    async def handle_exceptions(self) -> None:
        """Stock is missing in three ways, and policy handles each of them."""
        self.page.title(f"Stock is missing: orders of {LAUNCH} in our own shop")
        await self.retailer.count(dict.fromkeys(LOCATION_IDS, 0) | {"store-austin": 6, "store-denver": 3}, sku=LAUNCH)
        first, second, youngest = [await self._sell_launch_product() for _ in range(3)]
        after = await self.retailer.reject(first)
        resolvers = "; ".join(f"resolved by {exception.resolved_by}" for exception in after.exceptions)
        self.page.say(
            f"{open_locations(first)} does not find a unit: the order is rerouted to "
            f"{open_locations(after.allocation)} ({resolvers})."
        )
        promised = [order for order in (second, youngest) if open_locations(order) == "store-austin"]
        await self.retailer.count({"store-austin": 1}, sku=LAUNCH)
        moved = (await self.retailer.current(youngest)).allocation
        self.page.say(
            f"A stocktake counts 1 unit in store-austin, which is promised to {count(len(promised), 'order')}: the "
            f"youngest order is rerouted from {open_locations(youngest)} to {open_locations(moved)}."
        )
        waiting = await self._sell_launch_product(units=3)
        await self.retailer.receive({WAREHOUSE: 10}, sku=LAUNCH)
        filled = (await self.retailer.current(waiting)).allocation
        backordered, remaining = (sum(line.backordered_count for line in order.lines) for order in (waiting, filled))
        if remaining or not backordered:
            raise DemoError(f"{backordered} units were on backorder before the delivery, and {remaining} after it")
        self.page.say(
            f"An order of 3 units has {count(backordered, 'unit')} on backorder. A delivery arrives at the warehouse: "
            f"{count(remaining, 'unit')} on backorder now, and the order ships from {open_locations(filled)}."
        )

    async def cancel_an_order_that_is_leaving(self) -> None:
        """A shopper asks to cancel when one parcel has left; a person accepts, and the rest is cancelled."""
        self.page.title("A shopper asks to cancel an order that is leaving")
        order = await self.retailer.order(
            COMMITMENT_SOLD, units=3, sku=LAUNCH, channel_id=OWN_CHANNEL, not_at=("store-austin",)
        )
        origin = open_locations(order)
        if "store-austin" in origin:
            raise DemoError("the order ships from store-austin, which must not ship it")
        (parcel,) = (await self.retailer.ship(order, 1, PARCEL)).shipments[0].parcels
        asked = await self.retailer.request_cancellation(order)
        answered, decided = await self._answer(order, asked)
        if (answered.cancelled_count, decided) != (2, True):
            raise DemoError(f"{answered.cancelled_count} of 2 units that had not left were cancelled")
        self.page.say(
            f"An order of 3 units, not to be shipped from store-austin, ships from {origin}: 1 unit has left in parcel "
            f"{parcel.carrier} {parcel.tracking_number}. The shopper asks to cancel. "
            f"{answered.answered_by} accepts: {count(answered.cancelled_count, 'unit')} cancelled, 1 is on its way."
        )

    async def _answer(self, order: Allocation, asked: CancellationRequest) -> tuple[CancellationRequest, bool]:
        """The request once a person has accepted it, and whether a person had to."""
        needs_answer = asked.state == CancellationRequest.STATE_REQUESTED
        if needs_answer:
            await self.retailer.resolve_by_cancelling(asked.exception_id, "kim")
        return (await self.retailer.current(order)).allocation.cancellation_request, needs_answer

    def _edit_rule_file(self) -> list[str]:
        """Doubles the first percentage of the planner's rule file; returns the file's name and the changed lines."""
        file = self.rules / RULE_FILE
        old = file.read_text(encoding="utf-8")
        new = _PERCENT.sub(lambda found: f"percent: {min(100, 2 * int(found[1]))}", old, count=1)
        if new == old:
            raise DemoError(f"rules/{RULE_FILE} has no percentage to raise")
        file.write_text(new, encoding="utf-8")
        diff = list(difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm=""))
        return [f"rules/{RULE_FILE}", *(f"{line[0]} {line[1:].strip()}" for line in diff[2:] if line[0] in "+-")]

    async def _sell_launch_product(self, *, units: int = 1) -> Allocation:
        return await self.retailer.order(COMMITMENT_SOLD, units=units, sku=LAUNCH, channel_id=OWN_CHANNEL)
