"""`make demo`: a throw-away Truestock goes through a bad day on TikTok, in steps that are printed. Needs no input."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from bench.shop import RULES
from service.app.application import Running, running
from service.cli.client import Client, connect
from service.cli.console import output, row, table
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
)
from truestock.v1.availability_service_pb2 import Availability, CheckAvailabilityRequest
from truestock.v1.fulfillment_service_pb2 import REJECT_REASON_NOT_FOUND, RejectShipmentRequest
from truestock.v1.order_pb2 import COMMITMENT_HOLD, COMMITMENT_SOLD, Commitment, Destination, OrderLine
from truestock.v1.stock_service_pb2 import RecordStockChangesRequest, StockChange, StockCount

CHANNEL = "tiktok_shop"
SKU = "TRN-1205-MOS"
"""The moss-green tumbler of the sample retailer: 40 units are left, 4 in each store."""
OWN_CHANNEL, LAUNCH = "shopify", "DUN-1701-BLA"
"""Our own shop, and a launch: what is oversold of one waits for more."""
WAREHOUSE_UNITS, STORE_UNITS = 16, 4
SHOPPERS = 200
LATE_ORDERS = 10
RELOAD_SECONDS = 5.0
RULE_FILE = Path("buffers/stores.yaml")
NOT_EXPORTED = "not yet"
KEPT, KEPT_NOW = "hold_back: {units: 2}", "hold_back: {units: 0}"


@dataclass(slots=True)
class Demo:
    """The service that runs, its client, and the folder of rules that may be edited."""

    service: Running
    client: Client
    rules: Path
    console: Console
    orders: int = 0

    async def run(self) -> None:
        """The whole story."""
        await self.count_the_last_units()
        await self.spike()
        await self.late_orders()
        await self.a_hold_expires()
        await self.edit_a_rule()
        await self.things_go_wrong()
        await self.health()

    async def count_the_last_units(self) -> None:
        """Somebody counts: this is all there is."""
        self._title("The last units")
        places = [place.location_id for place in sample_locations()]
        await self._count({place: WAREHOUSE_UNITS if place == WAREHOUSE else STORE_UNITS for place in places})
        told = await self._told()
        self._say(
            f"{SKU} was just counted: {told.available_count} units, {WAREHOUSE_UNITS} in the warehouse and "
            f"{STORE_UNITS} in each of six stores."
        )
        kept = sum(place.buffer_count for place in told.locations)
        self._say(
            f"TikTok is told [bold]{told.sellable_count}[/]: stores keep {kept} for walk-in customers, and "
            f"{told.channel_buffer_count} more are kept because a video can sell faster than figures arrive."
        )

    async def spike(self) -> None:
        """Everybody wants one at the same moment: holds first, then those who got one pay."""
        self._title(f"A video goes viral: {SHOPPERS} shoppers check out at once")
        told = (await self._told()).sellable_count
        started = time.perf_counter()
        answers = await asyncio.gather(*(self._order(COMMITMENT_HOLD) for _ in range(SHOPPERS)))
        seconds = time.perf_counter() - started
        held = [answer for answer in answers if answer.state == Allocation.STATE_HELD]
        paid = await asyncio.gather(*(self._confirm(answer) for answer in held))
        oversold = sum(shortage.unit_count for answer in paid for shortage in answer.shortages)
        self._figures(
            {
                "units that TikTok was told of": told,
                "shoppers who got one, and paid": len(paid),
                "shoppers who were told no, at once": SHOPPERS - len(held),
                "units oversold": oversold,
            }
        )
        where = {shipment.location_id for answer in paid for shipment in answer.shipments}
        self._say(
            f"All {SHOPPERS} had their answer within {seconds:.1f} s. The units leave from {len(where)} locations."
        )

    async def late_orders(self) -> None:
        """Orders that the channel took before it heard the new figure: what buffers are for."""
        self._title(f"{LATE_ORDERS} orders arrive that TikTok took before it heard")
        answers = await asyncio.gather(*(self._order(COMMITMENT_SOLD) for _ in range(LATE_ORDERS)))
        short = sum(shortage.unit_count for answer in answers for shortage in answer.shortages)
        self._say(
            f"They are paid, so they may use the buffer: {LATE_ORDERS - short} are supplied from what was held back, "
            f"[bold]{short}[/] oversold."
        )

    async def a_hold_expires(self) -> None:
        """A cart that nobody pays."""
        self._title("A shopper fills a cart and walks away")
        await self._count({WAREHOUSE: 40})
        before = (await self._told()).sellable_count
        cart = await self._order(COMMITMENT_HOLD, units=5, hold_seconds=1)
        during = (await self._told()).sellable_count
        await asyncio.sleep(max(0.0, cart.expire_time.ToDatetime(UTC).timestamp() - time.time()) + 0.1)
        after = (await self._told()).sellable_count
        self._say(
            f"The warehouse gets more. TikTok is told {before}; while 5 units are held for a second, {during}; "
            f"once the hold has expired, {after}."
        )

    async def edit_a_rule(self) -> None:
        """A planner saves a file."""
        self._title("A planner edits a rule while orders come in")
        await self._count({"store-austin": 30, "store-denver": 30})
        before, revision = await self._told(), self.service.policy_revision
        file = self.rules / RULE_FILE
        file.write_text(file.read_text().replace(KEPT, KEPT_NOW))
        revision_now, seconds = await self.revision_after(revision)
        after = await self._told()
        self._say(f"rules/{RULE_FILE}: [red]{KEPT}[/] becomes [green]{KEPT_NOW}[/], in force after {seconds:.1f} s.")
        self._say(
            f"TikTok is told {before.sellable_count} before and {after.sellable_count} after; "
            f"answers name revision {revision[:8]} before and {revision_now[:8]} after."
        )

    async def things_go_wrong(self) -> None:
        """What was promised is not there, three times over, in our own shop."""
        self._title(f"The shelf is not what the figures say: orders of {LAUNCH} in our own shop")
        await self._count(dict.fromkeys((place.location_id for place in sample_locations()), 0), sku=LAUNCH)
        await self._count({"store-austin": 6, "store-denver": 3}, sku=LAUNCH)
        first, second, youngest = [await self._sell() for _ in range(3)]
        after = await self._reject(first)
        settled = "; ".join(f"settled by {one.resolved_by}" for one in after.exceptions)
        self._say(f"{_places(first)} does not find a unit: the order goes to {_places(after.allocation)} ({settled}).")
        kept = [order for order in (second, youngest) if _places(order) == "store-austin"]
        await self._count({"store-austin": 1}, sku=LAUNCH)
        moved = (await self._see(youngest)).allocation
        self._say(
            f"Somebody counts 1 in store-austin, where {len(kept)} are promised: the youngest order moves from "
            f"{_places(youngest)} to {_places(moved)}."
        )
        waiting = await self._sell(units=3)
        await self._count({WAREHOUSE: 10}, sku=LAUNCH)
        filled = (await self._see(waiting)).allocation
        before, now = (sum(line.backordered_count for line in one.lines) for one in (waiting, filled))
        self._say(
            f"An order wants 3 more, and {before} of them wait. A delivery comes to the warehouse: {now} wait, and it "
            f"leaves from {_places(filled)}."
        )

    async def health(self) -> None:
        """The six numbers, from what Prometheus would scrape."""
        self._title("TikTok's health, from /metrics")
        page = await asyncio.to_thread(_page, self.service.metrics_address)
        figures = Figures.of(page, CHANNEL)
        made = table("number", "value", "of", numbers=("value",))
        for name, value, words in figures.six():
            row(made, name, value, words)
        self.console.print(made)

    async def _told(self) -> Availability:
        request = CheckAvailabilityRequest(channel_id=CHANNEL, skus=[SKU], include_locations=True)
        return (await self.client.ask(self.client.availability.CheckAvailability, request)).availabilities[0]

    async def revision_after(self, revision: str) -> tuple[str, float]:
        """The revision that answers name once it is another, and the seconds that this took."""
        started = time.perf_counter()
        while (spent := time.perf_counter() - started) < RELOAD_SECONDS:
            request = CheckAvailabilityRequest(channel_id=CHANNEL, skus=[SKU])
            answer = await self.client.ask(self.client.availability.CheckAvailability, request)
            if answer.policy_revision != revision:
                return answer.policy_revision, spent
            await asyncio.sleep(0.02)
        raise TimeoutError(f"the edited rule was not in force after {RELOAD_SECONDS:g} s")

    async def _sell(self, *, units: int = 1) -> Allocation:
        return await self._order(COMMITMENT_SOLD, units=units, sku=LAUNCH, channel_id=OWN_CHANNEL)

    async def _reject(self, order: Allocation) -> GetAllocationResponse:
        request = RejectShipmentRequest(shipment_id=order.shipments[0].shipment_id, reason=REJECT_REASON_NOT_FOUND)
        await self.client.ask(self.client.fulfilment.RejectShipment, request)
        return await self._see(order)

    async def _see(self, order: Allocation) -> GetAllocationResponse:
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

    async def _count(self, figures: dict[str, int], *, sku: str = SKU) -> None:
        changes = [_counted(sku, place, units) for place, units in figures.items()]
        request = RecordStockChangesRequest(source="demo", changes=changes)
        await self.client.ask(self.client.stock.RecordStockChanges, request)

    def _title(self, text: str) -> None:
        self.console.print(f"\n[bold cyan]{text}[/]")

    def _say(self, text: str) -> None:
        self.console.print(f"  {text}")

    def _figures(self, figures: dict[str, int]) -> None:
        made = table("what came of it", "count", numbers=("count",))
        for words, figure in figures.items():
            row(made, words, f"{figure:,}")
        self.console.print(made)


@dataclass(frozen=True, slots=True)
class Figures:
    """Counters of one channel, added up over their other labels; what the service does not export is not there."""

    counters: dict[str, float]

    @classmethod
    def of(cls, page: str, channel: str) -> Figures:
        """Reads a page of metrics."""
        counters: dict[str, float] = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name.endswith("_total") and sample.labels.get("channel", channel) == channel:
                    counters[sample.name] = counters.get(sample.name, 0.0) + sample.value
        return cls(counters)

    def six(self) -> Iterator[tuple[str, str, str]]:
        """Each of the six with its value and what it is a part of."""
        sold = "units sold"
        yield "oversell rate", self._rate("oversold_units", "sold_units"), self._words("sold_units", sold)
        yield "cancellation rate", self._rate("cancelled_units", "sold_units"), self._words("sold_units", sold)
        yield "exceptions", self._count("exceptions"), "opened"
        yield "inventory mismatches", self._count("inventory_mismatches"), "found"
        yield "fulfilment SLA", self._rate("shipments_in_time", "shipments_shipped"), "shipments in time"
        needed = self._rate("manual_interventions", "sold_orders")
        yield "orders that needed a person", needed, self._words("sold_orders", "orders sold")

    def _rate(self, part: str, whole: str) -> str:
        if self._figure(part) is None or not self._figure(whole):
            return NOT_EXPORTED
        return f"{(self._figure(part) or 0) / (self._figure(whole) or 1):.1%}"

    def _count(self, name: str) -> str:
        figure = self._figure(name)
        return NOT_EXPORTED if figure is None else f"{figure:,.0f}"

    def _words(self, name: str, noun: str) -> str:
        return f"{self._figure(name) or 0:,.0f} {noun}"

    def _figure(self, name: str) -> float | None:
        return self.counters.get(f"truestock_{name}_total")


async def tell(url: str, rules: Path) -> None:
    """Runs the service on free ports, tells the story, and stops it."""
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
        console = output()
        console.print(
            f"Truestock runs on {service.address}, with a PostgreSQL that will be thrown away, the sample retailer, "
            f"and a copy of rules/ (revision {service.policy_revision[:8]})."
        )
        await Demo(service, client, rules, console).run()
    console.print("\nEverything is stopped and deleted. `make run` starts a Truestock that stays.")


@contextmanager
def copied_rules() -> Iterator[Path]:
    """A copy of the repository's rules that may be edited."""
    with tempfile.TemporaryDirectory(prefix="truestock-demo-") as folder:
        yield Path(shutil.copytree(RULES, Path(folder) / "rules"))


def main() -> None:
    """Tells the story on a database and a copy of the rules that are gone afterwards."""
    # The story tells what happens; the service's log would stand between its lines.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with temporary_postgres() as server, copied_rules() as rules:
        asyncio.run(tell(server.database_url, rules))


def _places(order: Allocation) -> str:
    """Where an order has units that are still to leave."""
    return " and ".join(made.location_id for made in order.shipments if any(line.unit_count for line in made.lines))


def _counted(sku: str, place: str, units: int) -> StockChange:
    change = StockChange(change_id=str(uuid.uuid4()), sku=sku, location_id=place, count=StockCount(on_hand_count=units))
    change.effective_time.FromDatetime(datetime.now(UTC))
    return change


def _page(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        page: str = answer.read().decode()
        return page


if __name__ == "__main__":
    main()
