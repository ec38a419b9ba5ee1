"""The afternoon of the demo: a silent till, a location that is switched off, a cancellation, a late shipment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bench.demo.page import DemoPage
from bench.demo.passed_time import PassedTime
from bench.demo.retailer import CHANNEL, LOCATION_IDS, SKU, DemoRetailer, open_locations
from bench.demo.unit_groups import MAY_SELL, DemoError
from service.cli.console import count
from truestock.v1.allocation_service_pb2 import Allocation
from truestock.v1.exception_pb2 import ExceptionRecord
from truestock.v1.order_pb2 import COMMITMENT_SOLD

TILL, TILL_STORE = "till-seattle", "store-seattle"
CADENCE_MINUTES, SILENT_HOURS = 15, 49
AUDIT, MISCOUNTED_UNITS = "audit", 2
AUDITED_STORES = ("store-austin", "store-brooklyn", "store-los-angeles")
LATE_STORE, LATE_HOURS = "store-brooklyn", 3
PUNCTUAL_ORDERS = 7
CLOSING_STORES = ("store-chicago", "store-denver")
"""An order ships from one of them, which closes; the other one takes over."""
UNSUPPLIED = "DUN-1709-BLA-10K"
WAIT_SECONDS = 45.0
"""The service looks for silent feeds and late shipments every ten seconds."""


@dataclass(slots=True)
class BadAfternoon:
    """The same retailer, some hours later."""

    retailer: DemoRetailer
    page: DemoPage
    passed: PassedTime
    sold_units: int = 0
    oversold_units: int = 0

    async def run(self) -> None:
        """Runs all steps in order. Raises DemoError if one does not show what it says."""
        late = await self.sell_what_will_be_late()
        await self.till_goes_silent()
        await self.location_is_switched_off()
        await self.seller_cancels()
        await self.shipment_leaves_late(late)

    async def sell_what_will_be_late(self) -> Allocation:
        """An order that only one store may ship, which does not get to it in time."""
        others = [x for x in LOCATION_IDS if x != LATE_STORE]
        order = await self._sell(not_at=others)
        if open_locations(order) != LATE_STORE:
            raise DemoError(f"the order ships from {open_locations(order)}, not from {LATE_STORE}")
        await self.passed.since_time_to_ship(order.allocation_id, LATE_HOURS)
        return order

    async def till_goes_silent(self) -> None:
        """A till stops reporting, and its store's stock is not offered until it reports again."""
        self.page.title(f"The till in {TILL_STORE} goes silent")
        await self.retailer.declare_feeds(TILL, AUDIT, location_id=TILL_STORE, cadence_minutes=CADENCE_MINUTES)
        on_hand = await self.retailer.on_hand(TILL_STORE)
        await self.retailer.count({TILL_STORE: on_hand}, source=TILL)
        before = await self.retailer.unit_groups()
        await self.passed.since_last_report(TILL, TILL_STORE, SILENT_HOURS)
        silent = await self._raised("stale_feed")
        during = await self.retailer.unit_groups()
        await self.retailer.count({TILL_STORE: on_hand}, source=TILL)
        after = await self.retailer.unit_groups()
        if not during[MAY_SELL] < before[MAY_SELL] == after[MAY_SELL]:
            shown = [groups[MAY_SELL] for groups in (before, during, after)]
            raise DemoError(f"TikTok may sell {shown} before, during and after the silence of {TILL}")
        self.page.say(
            f"{TILL} should report every {CADENCE_MINUTES} minutes, and says nothing for {SILENT_HOURS} hours. "
            f"An exception is raised for {silent.source}, and TikTok is offered none of that store's units. Then the "
            f"till reports again: the exception is resolved, and the units are on offer."
        )
        self.page.groups({"before": before, "silent": during, "reports again": after})
        for location in AUDITED_STORES:
            await self.retailer.count({location: await self.retailer.on_hand(location)}, source=AUDIT)
        await self.retailer.count({TILL_STORE: on_hand - MISCOUNTED_UNITS}, source=AUDIT)
        self.page.say(
            f"An audit agrees with {count(len(AUDITED_STORES), 'store')}. In {TILL_STORE} it finds "
            f"{on_hand - MISCOUNTED_UNITS} units where the till says {on_hand}: an inventory mismatch, and a person of "
            f"the store recounts."
        )

    async def location_is_switched_off(self) -> None:
        """A store closes with an order promised: the order moves to another location."""
        others = [x for x in LOCATION_IDS if x not in CLOSING_STORES]
        order = await self._sell(units=2, not_at=others)
        closed = open_locations(order)
        self.page.title(f"{closed} is switched off")
        await self.retailer.close_location(closed)

        async def has_left() -> bool:
            return open_locations((await self.retailer.current(order)).allocation) not in {"", closed}

        await self._until(has_left, f"an order still ships from {closed}")
        moved = (await self.retailer.current(order)).allocation
        self.page.say(
            f"The store closes because of water damage. Within two seconds orders leave it: one that was to ship from "
            f"{closed} ships from {open_locations(moved)}, and no channel is offered the store's units."
        )

    async def seller_cancels(self) -> None:
        """An order that nobody can supply is cancelled, which is the seller's fault."""
        self.page.title("An order cannot be supplied")
        await self.retailer.count({x: 0 for x in LOCATION_IDS if x != TILL_STORE}, sku=UNSUPPLIED)
        await self.retailer.count({TILL_STORE: 0}, sku=UNSUPPLIED, source=TILL)
        order = await self._sell(sku=UNSUPPLIED)
        self.oversold_units += 1
        (raised,) = [x for x in (await self.retailer.current(order)).exceptions if x.kind == "oversell"]
        await self.retailer.resolve_by_cancelling(raised.exception_id, "kim")
        cancelled = sum(line.cancelled_count for line in (await self.retailer.current(order)).allocation.lines)
        if cancelled != 1:
            raise DemoError(f"{cancelled} units of {UNSUPPLIED} are cancelled, not 1")
        self.page.say(
            f"TikTok sells {UNSUPPLIED}, which no location has any more. kim calls the stores, finds none, and cancels "
            f"the order: by the [bold]seller's fault[/], for which TikTok punishes the shop."
        )

    async def shipment_leaves_late(self, order: Allocation) -> None:
        """A shipment leaves hours after its time."""
        self.page.title(f"{LATE_STORE} ships late")
        punctual = [await self._sell() for _ in range(PUNCTUAL_ORDERS)]
        for number, other in enumerate(punctual):
            await self.retailer.ship(other, 1, f"1Z999AA1000000000{number}")
        raised = await self._raised("late_shipment")
        shipped = await self.retailer.ship(order, 1, "1Z999AA10987654321")
        if raised.allocation_id != order.allocation_id or not shipped.shipments[0].parcels:
            raise DemoError(f"the late shipment is of {raised.allocation_id}, not of {order.allocation_id}")
        self.page.say(
            f"{count(PUNCTUAL_ORDERS, 'shipment leaves', 'shipments leave')} in time, and one should have left "
            f"{LATE_HOURS} hours ago. It counts as late as soon as its time has passed, an "
            f"exception goes to the desk that handles {CHANNEL}, and the parcel leaves now."
        )

    async def _sell(self, *, units: int = 1, sku: str = SKU, not_at: Sequence[str] = ()) -> Allocation:
        self.sold_units += units
        return await self.retailer.order(COMMITMENT_SOLD, units=units, sku=sku, not_at=not_at)

    async def _raised(self, kind: str) -> ExceptionRecord:
        """The open exception of a kind, once there is one."""
        found: list[ExceptionRecord] = []

        async def is_raised() -> bool:
            found[:] = await self.retailer.open_exceptions(kind)
            return bool(found)

        await self._until(is_raised, f"no exception of the kind {kind} was raised")
        return found[0]

    async def _until(self, holds: Callable[[], Awaitable[bool]], otherwise: str) -> None:
        """Waits until `holds`. Raises DemoError."""
        until = time.monotonic() + WAIT_SECONDS
        while not await holds():
            if time.monotonic() > until:
                raise DemoError(f"{otherwise} within {WAIT_SECONDS:g} s")
            await asyncio.sleep(0.2)
