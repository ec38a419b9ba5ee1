"""`make demo`: runs a temporary Truestock through a bad day on TikTok and prints each step. Needs no input."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from bench.bench_retailer import RULES
from service.app.application import Running, running
from service.cli.client import Client, connect
from service.cli.console import add_row, count, new_table, stdout_console
from service.database.embedded.postgres import temporary_postgres
from service.database.migrate import migrate
from service.sample.sample_retailer import WAREHOUSE, sample_locations
from service.settings import Settings
from truestock.v1.allocation_service_pb2 import (
    AllocateOrderRequest,
    Allocation,
    ConfirmAllocationRequest,
    GetAllocationRequest,
    GetAllocationResponse,
    Shortage,
)
from truestock.v1.availability_service_pb2 import Availability, CheckAvailabilityRequest
from truestock.v1.fulfillment_service_pb2 import REJECT_REASON_NOT_FOUND, RejectShipmentRequest
from truestock.v1.order_pb2 import COMMITMENT_HOLD, COMMITMENT_SOLD, Commitment, Destination, OrderLine
from truestock.v1.stock_service_pb2 import RecordStockChangesRequest, StockChange, StockCount

CHANNEL = "tiktok_shop"
SKU = "TRN-1205-MOS"
"""The moss-green tumbler of the sample retailer: 40 units, 4 of them in each store."""
OWN_CHANNEL, LAUNCH = "shopify", "DUN-1701-BLA"
"""Our own shop, and a new product: oversold units of it go on backorder."""
WAREHOUSE_UNITS, STORE_UNITS = 16, 4
SHOPPERS = 200
LATE_ORDERS = 10
RELOAD_SECONDS = 5.0
RULE_FILE = Path("buffers/stores.yaml")
NOT_EXPORTED = "not yet"
BUFFER_BEFORE, BUFFER_AFTER = "hold_back: {units: 2}", "hold_back: {units: 0}"


@dataclass(slots=True)
class Demo:
    """The running service, a client of it, and the rules folder, which the demo edits."""

    service: Running
    client: Client
    rules: Path
    console: Console
    orders: int = 0

    async def run(self) -> None:
        """Runs all steps in order."""
        await self.count_the_last_units()
        await self.sell_the_last_units()
        await self.sell_late_orders()
        await self.hold_expires()
        await self.edit_rule()
        await self.handle_exceptions()
        await self.print_health()

    async def count_the_last_units(self) -> None:
        """A stocktake finds few units."""
        self._print_title("The last units")
        location_ids = [location.location_id for location in sample_locations()]
        await self._count(
            {location_id: WAREHOUSE_UNITS if location_id == WAREHOUSE else STORE_UNITS for location_id in location_ids}
        )
        availability = await self._availability()
        self._print(
            f"A stocktake counts {count(availability.available_count, 'unit')} of {SKU}: {WAREHOUSE_UNITS} in the "
            f"warehouse and {STORE_UNITS} in each of six stores."
        )
        store_buffer = sum(location.buffer_count for location in availability.locations)
        self._print(
            f"Published to TikTok: [bold]{availability.sellable_count}[/]. Stores keep a buffer of "
            f"{count(store_buffer, 'unit')} for walk-in customers, and the channel a buffer of "
            f"{count(availability.channel_buffer_count, 'unit')}: a video can sell faster than stock updates arrive."
        )

    async def sell_the_last_units(self) -> None:
        """All shoppers order at once: each tries to hold a unit, then those with a hold pay."""
        self._print_title(f"A video goes viral: {SHOPPERS} shoppers check out at once")
        published = (await self._availability()).sellable_count
        started = time.perf_counter()
        orders = await asyncio.gather(*(self._order(COMMITMENT_HOLD) for _ in range(SHOPPERS)))
        seconds = time.perf_counter() - started
        held = [order for order in orders if order.state == Allocation.STATE_HELD]
        paid = await asyncio.gather(*(self._confirm(order) for order in held))
        oversold, _ = _short_units(paid)
        self._print_counts(
            {
                "units published to TikTok": published,
                "shoppers with a unit, paid": len(paid),
                "shoppers refused at once": SHOPPERS - len(held),
                "units oversold": oversold,
            }
        )
        locations = {shipment.location_id for order in paid for shipment in order.shipments}
        self._print(
            f"All {SHOPPERS} orders were answered within {seconds:.1f} s. The units ship from "
            f"{count(len(locations), 'location')}."
        )

    async def sell_late_orders(self) -> None:
        """The channel sells more before it receives the new availability: buffers supply those orders."""
        self._print_title(f"{count(LATE_ORDERS, 'order')} from before TikTok received the new availability")
        orders = await asyncio.gather(*(self._order(COMMITMENT_SOLD) for _ in range(LATE_ORDERS)))
        oversold, kept = _short_units(orders)
        self._print(
            f"They are paid, so they may use the buffer: it supplies {count(LATE_ORDERS - oversold - kept, 'unit')}; "
            f"[bold]{count(oversold, 'unit is', 'units are')}[/] oversold"
            + (f", and {count(kept, 'unit is', 'units are')} in stock, but kept by a rule." if kept else ".")
        )

    async def hold_expires(self) -> None:
        """A shopper abandons a cart and its hold expires."""
        self._print_title("A shopper abandons a cart")
        await self._count({WAREHOUSE: 40})
        before = (await self._availability()).sellable_count
        cart = await self._order(COMMITMENT_HOLD, units=5, hold_seconds=1)
        during = (await self._availability()).sellable_count
        await asyncio.sleep(max(0.0, cart.expire_time.ToDatetime(UTC).timestamp() - time.time()) + 0.1)
        after = (await self._availability()).sellable_count
        self._print(
            f"The warehouse receives more. TikTok may sell {before}; {during} while a cart holds 5 units for a second; "
            f"{after} once the hold has expired."
        )

    async def edit_rule(self) -> None:
        """A planner lowers a buffer in a rule file."""
        self._print_title("A planner edits a rule while orders arrive")
        await self._count({"store-austin": 30, "store-denver": 30})
        before, revision = await self._availability(), self.service.policy_revision
        file = self.rules / RULE_FILE
        file.write_text(file.read_text().replace(BUFFER_BEFORE, BUFFER_AFTER))
        new_revision, seconds = await self.revision_after(revision)
        after = await self._availability()
        self._print(
            f"rules/{RULE_FILE}: [red]{BUFFER_BEFORE}[/] becomes [green]{BUFFER_AFTER}[/], in force after "
            f"{seconds:.1f} s."
        )
        self._print(
            f"TikTok may sell {before.sellable_count} before and {after.sellable_count} after; "
            f"decisions name revision {revision[:8]} before and {new_revision[:8]} after."
        )

    async def handle_exceptions(self) -> None:
        """Stock is missing in three ways, and policy handles each of them."""
        self._print_title(f"Stock is missing: orders of {LAUNCH} in our own shop")
        await self._count(dict.fromkeys((location.location_id for location in sample_locations()), 0), sku=LAUNCH)
        await self._count({"store-austin": 6, "store-denver": 3}, sku=LAUNCH)
        first, second, youngest = [await self._sell_launch_product() for _ in range(3)]
        after = await self._reject(first)
        resolvers = "; ".join(f"resolved by {exception.resolved_by}" for exception in after.exceptions)
        self._print(
            f"{_open_locations(first)} does not find a unit: the order is rerouted to "
            f"{_open_locations(after.allocation)} ({resolvers})."
        )
        promised = [order for order in (second, youngest) if _open_locations(order) == "store-austin"]
        await self._count({"store-austin": 1}, sku=LAUNCH)
        moved = (await self._current_order(youngest)).allocation
        self._print(
            f"A stocktake counts 1 unit in store-austin, which is promised to {count(len(promised), 'order')}: the "
            f"youngest order is rerouted from {_open_locations(youngest)} to {_open_locations(moved)}."
        )
        waiting = await self._sell_launch_product(units=3)
        await self._count({WAREHOUSE: 10}, sku=LAUNCH)
        filled = (await self._current_order(waiting)).allocation
        backordered, remaining = (sum(line.backordered_count for line in order.lines) for order in (waiting, filled))
        self._print(
            f"An order of 3 units has {count(backordered, 'unit')} on backorder. A delivery arrives at the warehouse: "
            f"{count(remaining, 'unit')} on backorder now, and the order ships from {_open_locations(filled)}."
        )

    async def print_health(self) -> None:
        """Prints the channel's six health metrics from what Prometheus would scrape."""
        self._print_title("TikTok's health, from /metrics")
        page = await asyncio.to_thread(_metrics_page, self.service.metrics_address)
        counters = ChannelCounters.of(page, CHANNEL)
        table = new_table("metric", "value", "of", numbers=("value",))
        for name, value, total in counters.rows():
            add_row(table, name, value, total)
        self.console.print(table)

    async def _availability(self) -> Availability:
        request = CheckAvailabilityRequest(channel_id=CHANNEL, skus=[SKU], include_locations=True)
        return (await self.client.ask(self.client.availability.CheckAvailability, request)).availabilities[0]

    async def revision_after(self, revision: str) -> tuple[str, float]:
        """The new rules revision once decisions use it, and the seconds that this took."""
        started = time.perf_counter()
        while (elapsed := time.perf_counter() - started) < RELOAD_SECONDS:
            request = CheckAvailabilityRequest(channel_id=CHANNEL, skus=[SKU], internal=True)
            response = await self.client.ask(self.client.availability.CheckAvailability, request)
            if response.policy_revision != revision:
                return response.policy_revision, elapsed
            await asyncio.sleep(0.02)
        raise TimeoutError(f"the edited rule was not in force after {RELOAD_SECONDS:g} s")

    async def _sell_launch_product(self, *, units: int = 1) -> Allocation:
        return await self._order(COMMITMENT_SOLD, units=units, sku=LAUNCH, channel_id=OWN_CHANNEL)

    async def _reject(self, order: Allocation) -> GetAllocationResponse:
        request = RejectShipmentRequest(shipment_id=order.shipments[0].shipment_id, reason=REJECT_REASON_NOT_FOUND)
        await self.client.ask(self.client.fulfillment.RejectShipment, request)
        return await self._current_order(order)

    async def _current_order(self, order: Allocation) -> GetAllocationResponse:
        request = GetAllocationRequest(allocation_id=order.allocation_id)
        return await self.client.ask(self.client.allocations.GetAllocation, request)

    async def _order(
        self,
        commitment: Commitment.ValueType,
        *,
        units: int = 1,
        hold_seconds: int = 0,
        sku: str = SKU,
        channel_id: str = CHANNEL,
    ) -> Allocation:
        self.orders += 1
        request = AllocateOrderRequest(
            channel_id=channel_id,
            order_id=f"demo-{self.orders}",
            commitment=commitment,
            lines=[OrderLine(sku=sku, unit_count=units)],
            destination=Destination(country="US", region="TX", postal_code="78704"),
            request_id=str(uuid.uuid4()),
        )
        if hold_seconds:
            request.hold_duration.seconds = hold_seconds
        return (await self.client.ask(self.client.allocations.AllocateOrder, request)).allocation

    async def _confirm(self, held: Allocation) -> Allocation:
        request = ConfirmAllocationRequest(allocation_id=held.allocation_id, request_id=str(uuid.uuid4()))
        return (await self.client.ask(self.client.allocations.ConfirmAllocation, request)).allocation

    async def _count(self, units_by_location: dict[str, int], *, sku: str = SKU) -> None:
        changes = [_stock_count(sku, location_id, units) for location_id, units in units_by_location.items()]
        request = RecordStockChangesRequest(source="demo", changes=changes)
        await self.client.ask(self.client.stock.RecordStockChanges, request)

    def _print_title(self, text: str) -> None:
        self.console.print(f"\n[bold cyan]{text}[/]")

    def _print(self, text: str) -> None:
        self.console.print(f"  {text}")

    def _print_counts(self, counts: dict[str, int]) -> None:
        table = new_table("result", "count", numbers=("count",))
        for name, number in counts.items():
            add_row(table, name, f"{number:,}")
        self.console.print(table)


@dataclass(frozen=True, slots=True)
class ChannelCounters:
    """The counters of one channel, summed over their other labels, without those that the service does not export."""

    counters: dict[str, float]

    @classmethod
    def of(cls, page: str, channel: str) -> ChannelCounters:
        """Reads the counters of `channel` from a page of metrics."""
        counters: dict[str, float] = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name.endswith("_total") and sample.labels.get("channel", channel) == channel:
                    counters[sample.name] = counters.get(sample.name, 0.0) + sample.value
        return cls(counters)

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yields each of the six metrics with its value and the total that it refers to."""
        sold = "units sold"
        yield "oversell rate", self._rate("oversold_units", "sold_units"), self._total("sold_units", sold)
        yield "cancellation rate", self._rate("cancelled_units", "sold_units"), self._total("sold_units", sold)
        yield "exceptions", self._count("exceptions"), "opened"
        yield "inventory mismatches", self._count("inventory_mismatches"), "found"
        yield "fulfillment SLA", self._rate("shipments_in_time", "shipments_shipped"), "shipments in time"
        manual = self._rate("manual_interventions", "sold_orders")
        yield "orders with a manual intervention", manual, self._total("sold_orders", "orders sold")

    def _rate(self, part: str, whole: str) -> str:
        if self._value(part) is None or not self._value(whole):
            return NOT_EXPORTED
        return f"{(self._value(part) or 0) / (self._value(whole) or 1):.1%}"

    def _count(self, name: str) -> str:
        value = self._value(name)
        return NOT_EXPORTED if value is None else f"{value:,.0f}"

    def _total(self, name: str, noun: str) -> str:
        return f"{self._value(name) or 0:,.0f} {noun}"

    def _value(self, name: str) -> float | None:
        return self.counters.get(f"truestock_{name}_total")


async def run_demo(url: str, rules: Path) -> None:
    """Runs the service on free ports, runs the demo, and stops the service."""
    await migrate(url)
    settings = Settings(
        address="127.0.0.1:0",
        metrics_address="127.0.0.1:0",
        database_url=url,
        rules=rules,
        sample=True,
        drain_seconds=2,
    )
    async with running(settings) as service, connect(service.address) as client:
        console = stdout_console()
        console.print(
            f"Truestock runs on {service.address}, with a temporary PostgreSQL, the sample retailer, "
            f"and a copy of rules/ (revision {service.policy_revision[:8]})."
        )
        await Demo(service, client, rules, console).run()
    console.print("\nThe demo is stopped and its data deleted. `make run` starts a Truestock that keeps its data.")


@contextmanager
def copied_rules() -> Iterator[Path]:
    """A temporary copy of the repository's rules, which the demo may edit."""
    with tempfile.TemporaryDirectory(prefix="truestock-demo-") as folder:
        yield Path(shutil.copytree(RULES, Path(folder) / "rules"))


def main() -> None:
    """Runs the demo on a temporary database and a temporary copy of the rules."""
    # Log lines of the service would interrupt the printed steps.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with temporary_postgres() as server, copied_rules() as rules:
        asyncio.run(run_demo(server.database_url, rules))


def _open_locations(order: Allocation) -> str:
    """The locations with units of an order still to ship."""
    return " and ".join(
        shipment.location_id for shipment in order.shipments if any(line.unit_count for line in shipment.lines)
    )


def _stock_count(sku: str, location_id: str, units: int) -> StockChange:
    change = StockChange(
        change_id=str(uuid.uuid4()), sku=sku, location_id=location_id, count=StockCount(on_hand_count=units)
    )
    change.effective_time.FromDatetime(datetime.now(UTC))
    return change


def _metrics_page(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as response:
        page: str = response.read().decode()
        return page


def _short_units(orders: Iterable[Allocation]) -> tuple[int, int]:
    """Short units that no permitted location has, and those that are in stock, but that a rule keeps."""
    shortages = [shortage for order in orders for shortage in order.shortages]
    oversold = sum(x.unit_count for x in shortages if x.kind == Shortage.KIND_OVERSELL)
    return oversold, sum(x.unit_count for x in shortages) - oversold


if __name__ == "__main__":
    main()
