"""Random orders of kits, items, restricted lines and groups, while kits, listings and outlets change: nothing is lost.

After every step the ledger balances, every promised unit is in stock and belongs to an order, lines ship from where
they may, kits and items are whole, groups are together, parcels have no more than has shipped, requests to cancel are
open for as long as somebody has to answer them, and outlets add up. Unmet demand that channels report is kept once.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from contextlib import suppress
from typing import Any

import grpc
import pytest

from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.invariants import check_wholes
from tests.retailer import (
    HOLD,
    SOLD,
    Retailer,
    change,
    kit_of,
    line_units,
    movement,
    order_reference,
    order_request,
)
from tests.service.reports.counted import check_report
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    channel_figure_pb2 as figure_pb,
    demand_pb2 as demand_pb,
    exception_pb2,
    fulfillment_service_pb2 as fulfillment_pb,
    order_pb2,
    outlet_pb2,
    stock_service_pb2 as stock_pb,
)

LOCATION_IDS = ("dc", "east", "west")
SKUS = ("MUG", "BOWL", "TRAY")
KITS = ("SET", "GIFT")
ITEMS = ("case", "single", "box-of-sets")
LIVE = (allocation_pb.Allocation.STATE_HELD, allocation_pb.Allocation.STATE_CONFIRMED)
REFUSALS = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)

Allocation = allocation_pb.Allocation


class RandomShop:
    """A shop in random steps; the same seed makes the same steps."""

    def __init__(self, shop: Retailer, seed: int) -> None:
        self.shop = shop
        self.dice = random.Random(seed)
        self.orders: dict[str, Allocation] = {}
        self.asked: dict[str, list[allocation_pb.CancellationRequest]] = {}
        self.in_pieces: set[str] = set()
        """Orders of which units have shipped or were rejected: what is left of a kit or group may be single units."""
        self.done: Counter[str] = Counter()
        self.units_per_item: dict[str, tuple[str, int]] = {}
        self.unmet: Counter[str] = Counter()
        """Units of each SKU that the channel has reported as unmet demand."""
        self.event_count = 0

    async def set_up(self) -> None:
        await self.shop.stock({(sku, x): self.dice.randint(0, 8) for sku in SKUS for x in LOCATION_IDS})
        launches = [catalog_pb.Product(sku=sku, tags=["launch"]) for sku in SKUS[:2]]
        await self.shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=launches))
        await self.shop.kits({"SET": {"MUG": 1, "BOWL": 2}})
        await self.shop.kits({"GIFT": {"MUG": 2, "TRAY": 1}}, may_split=True)
        await self.edit_listing()
        await self.edit_outlets()

    async def step(self) -> None:
        """One random step, refused or not."""
        steps = [self.order] * 5 + [self.receive, self.lose, self.ship, self.reject, self.cancel, self.reassign]
        steps += [self.end_hold, self.edit_kit, self.edit_listing, self.edit_outlets, self.record_return, self.replay]
        steps += [self.ship_parcels, self.request_cancellation, self.request_cancellation, self.answer_request]
        steps += [self.withdraw_request, self.show_figures, self.report_unmet_demand]
        step = self.dice.choice(steps)
        try:
            await step()
        except grpc.aio.AioRpcError as error:
            if error.code() not in REFUSALS:
                raise
        else:
            self.done[step.__name__] += 1
        await self.check()

    async def order(self) -> None:
        order_id = str(self.dice.randint(1, 8))
        request = order_request(order_id, {}, self.dice.choice([HOLD, SOLD]))
        request.lines.extend(self._line() for _ in range(self.dice.randint(1, 3)))
        if self.dice.random() < 0.2:
            request.outlet_id = self.dice.choice(["stores", "warehouse"])
        self._keep((await self.shop.allocations.AllocateOrder(request)).allocation)

    def _line(self) -> order_pb2.OrderLine:
        line = order_pb2.OrderLine(unit_count=self.dice.randint(1, 4))
        if self.dice.random() < 0.3:
            line.item_id = self.dice.choice(ITEMS)
        else:
            line.sku = self.dice.choice(SKUS + KITS)
        if self.dice.random() < 0.2:
            line.only_location_ids.extend(self.dice.sample(LOCATION_IDS, 2))
        if self.dice.random() < 0.2:
            line.not_location_ids.append(self.dice.choice(LOCATION_IDS))
        if self.dice.random() < 0.3:
            line.keep_together = "together"
        return line

    async def receive(self) -> None:
        await self._move(stock_pb.MOVEMENT_KIND_RECEIVED)

    async def lose(self) -> None:
        await self._move(stock_pb.MOVEMENT_KIND_LOST)

    async def _move(self, kind: int) -> None:
        units = movement(kind, self.dice.randint(1, 4))
        await self.shop.record(change(self.dice.choice(SKUS), self.dice.choice(LOCATION_IDS), movement=units))

    async def ship(self) -> None:
        order_id, shipment, units = self._some_units()
        self.in_pieces.add(order_id)
        self._keep(await self.shop.ship(shipment, units))

    async def reject(self) -> None:
        order_id, shipment, units = self._some_units()
        self.in_pieces.add(order_id)
        self._keep(await self.shop.reject(shipment, self.dice.choice(["not_found", "no_capacity", "damaged"]), units))

    async def reassign(self) -> None:
        _, shipment, _ = self._some_units()
        self._keep(await self.shop.reassign(shipment, self.dice.choice(["", *LOCATION_IDS])))

    async def cancel(self) -> None:
        allocation = self._some_order()
        line = self.dice.choice(allocation.lines)
        units = {line.kit_line_id or line.line_id: self.dice.randint(1, 2)}
        self._keep(await self.shop.cancel(allocation.allocation_id, units))

    async def ship_parcels(self) -> None:
        order_id, shipment, units = self._some_units()
        self.in_pieces.add(order_id)
        request = fulfillment_pb.ShipShipmentRequest(
            shipment_id=shipment.shipment_id, lines=line_units(units), event_id=self._event()
        )
        parcel = request.parcels.add(carrier="UPS", tracking_number=self.dice.choice(["1Z-1", "1Z-2"]))
        for line_id, count in (units or {}).items():
            parcel.lines.add(line_id=line_id, unit_count=count)
        self._keep((await self.shop.fulfillment.ShipShipment(request)).allocation)

    async def request_cancellation(self) -> None:
        """Asks for lines, kits or items of an order that may not have arrived, or for all of it."""
        order_id = str(self.dice.randint(1, 10))
        request = allocation_pb.RequestCancellationRequest(order=order_reference(f"web/{order_id}"))
        request.event_id = f"ask-{self.dice.randint(1, 12)}"
        line = request.lines.add(unit_count=self.dice.randint(1, 2))
        kind = self.dice.randint(1, 4)
        if kind == 1:
            line.item_id = self.dice.choice(ITEMS)
        elif kind == 4:
            del request.lines[:]
            request.whole_order = True
        else:
            line.line_id = str(self.dice.randint(1, 3))
        answer = await self.shop.allocations.RequestCancellation(request)
        assert answer.HasField("allocation") == (order_id in self.orders)
        if answer.HasField("allocation"):
            self._keep(answer.allocation)

    async def withdraw_request(self) -> None:
        request = allocation_pb.RequestCancellationRequest(
            order=order_reference(f"web/{self.dice.randint(1, 10)}"),
            event_id=f"ask-{self.dice.randint(1, 12)}",
            withdraw=True,
        )
        answer = await self.shop.allocations.RequestCancellation(request)
        assert answer.cancellation_request.state != allocation_pb.CancellationRequest.STATE_REQUESTED

    async def answer_request(self) -> None:
        raised = [x for x in await self.shop.open_exceptions() if x.kind == "cancel_requested"]
        if raised:
            answer = self.dice.choice(["CANCELLED", "DECLINED"])
            resolution = exception_pb2.ExceptionResolution.Value(f"EXCEPTION_RESOLUTION_{answer}")
            await self.shop.resolve(self.dice.choice(raised).exception_id, resolution)

    async def show_figures(self) -> None:
        """The channel shows what it was told, or more."""
        sku, more = self.dice.choice(SKUS + KITS), self.dice.randint(0, 2)
        told = await self.shop.sellable(sku)
        figure = figure_pb.ChannelFigure(sku=sku, shown_count=told + more)
        request = figure_pb.RecordChannelFiguresRequest(channel_id="web", figures=[figure])
        (result,) = (await self.shop.availability.RecordChannelFigures(request)).results
        assert result.difference_count == more, (sku, told, result)

    async def report_unmet_demand(self) -> None:
        """The channel reports demand of a SKU or an item; sometimes it reports an event again."""
        item_id, wanted = self.dice.choice(("", *ITEMS)), self.dice.randint(1, 5)
        sku, units = self.units_per_item.get(item_id, ("MUG", 1))
        event = demand_pb.UnmetDemandEvent(
            event_id=self._event(), channel_id="web", item_id=item_id, sku="" if item_id else sku, wanted_count=wanted
        )
        event.demand_time.GetCurrentTime()
        for _ in range(self.dice.randint(1, 2)):
            await self.shop.availability.RecordUnmetDemand(demand_pb.RecordUnmetDemandRequest(events=[event]))
        self.unmet[sku] += wanted * units

    def _event(self) -> str:
        self.event_count += 1
        return f"e-{self.event_count}"

    async def end_hold(self) -> None:
        end = self.dice.choice([self.shop.confirm, self.shop.release])
        self._keep(await end(self._some_order().allocation_id))

    async def record_return(self) -> None:
        allocation = self._some_order()
        line = self.dice.choice(allocation.lines)
        request = fulfillment_pb.RecordReturnRequest(
            allocation_id=allocation.allocation_id,
            lines=line_units({line.line_id: 1}),
            disposition=fulfillment_pb.RETURN_DISPOSITION_SELLABLE,
            location_id=self.dice.choice(LOCATION_IDS),
        )
        self._keep((await self.shop.fulfillment.RecordReturn(request)).allocation)

    async def edit_kit(self) -> None:
        parts = {sku: self.dice.randint(1, 3) for sku in self.dice.sample(SKUS, 2)}
        await self.shop.upsert_kits(kit_of("SET", parts))

    async def edit_listing(self) -> None:
        case, single = (self.dice.choice(SKUS), self.dice.randint(2, 4)), (self.dice.choice(SKUS), 1)
        self.units_per_item = {"case": case, "single": single, "box-of-sets": ("SET", 2)}
        for item_id, (sku, units) in self.units_per_item.items():
            await self.shop.list_item("web", item_id, sku, units)

    async def edit_outlets(self) -> None:
        stores = self.dice.sample(LOCATION_IDS[1:], self.dice.randint(1, 2))
        pool = outlet_pb2.Pool(pool_id="stores", location_ids=stores)
        await self.shop.catalog.UpsertPools(outlet_pb2.UpsertPoolsRequest(pools=[pool]))
        outlets = [
            outlet_pb2.Outlet(channel_id="web", outlet_id="stores", pool_id="stores"),
            outlet_pb2.Outlet(channel_id="web", outlet_id="warehouse", location_id="dc"),
        ]
        await self.shop.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=outlets))

    async def replay(self) -> None:
        decision_id = self._some_order().decision.decision_id
        if decision_id:
            answer = await self.shop.explain(decision_id)
            assert answer.identical, answer
            explanation = answer.explanation
            placed = sum(units.unit_count for x in explanation.chosen.shipments for units in x.units)
            assert placed == sum(location.unit_count for location in explanation.locations)
            if explanation.HasField("next_best"):
                assert [x.decides for x in explanation.next_best.differences][:2] in ([True], [True, False])

    def _keep(self, allocation: Allocation) -> None:
        self.orders[allocation.order_id] = allocation

    def _some_order(self) -> Allocation:
        with suppress(IndexError):
            return self.dice.choice(list(self.orders.values()))
        return Allocation(lines=[allocation_pb.AllocatedLine()])

    def _some_units(self) -> tuple[str, Any, dict[str, int] | None]:
        """An order, one of its shipments, and units of one of its lines, or None: all."""
        allocation = self._some_order()
        shipments = [x for x in allocation.shipments if any(line.unit_count for line in x.lines)]
        if not shipments:
            return allocation.order_id, allocation_pb.Allocation().shipments.add(), None
        shipment = self.dice.choice(shipments)
        line = self.dice.choice([line for line in shipment.lines if line.unit_count])
        some = {line.line_id: self.dice.randint(1, line.unit_count)}
        return allocation.order_id, shipment, self.dice.choice([None, some])

    async def check(self) -> None:
        """All that must hold at any moment.

        Units that come in fill backorders a moment later: stock that differs from orders which have changed meanwhile
        is compared again.
        """
        await self._read_orders()
        for allocation in self.orders.values():
            check_units(allocation)
            check_placement(allocation)
            check_parcels(allocation)
            if allocation.order_id not in self.in_pieces:
                check_wholes(allocation, {"SET"})
        while difference := await self._difference_from_stock():
            assert await self._read_orders(), (difference, self.done)
        await self.check_outlets()
        await self.check_requests()
        await self.check_unmet_demand()
        report = await self.shop.ledger()
        assert report.balanced, report.differences

    async def _read_orders(self) -> bool:
        """Reads all orders; whether one has changed since it was read last."""
        known = {order_id: allocation.version for order_id, allocation in self.orders.items()}
        for order_id, allocation in self.orders.items():
            answer = await self.shop.get(allocation.allocation_id)
            self.orders[order_id], self.asked[order_id] = answer.allocation, list(answer.cancellation_requests)
        return known != {order_id: allocation.version for order_id, allocation in self.orders.items()}

    async def _difference_from_stock(self) -> str:
        """The first level whose promised units are not those of the orders, or are not in stock."""
        promised: Counter[tuple[str, str]] = Counter()
        for allocation in self.orders.values():
            for shipment in allocation.shipments:
                for line in shipment.lines:
                    promised[line.sku, shipment.location_id] += line.unit_count
        levels = await self.shop.stock_service.ListStockLevels(stock_pb.ListStockLevelsRequest())
        for level in levels.stock_levels:
            count = promised[level.sku, level.location_id]
            usable = max(0, level.on_hand_count - level.unavailable_count)
            if not level.held_count + level.allocated_count == count <= usable:
                return f"orders have {count} of {level}"
        return ""

    async def check_outlets(self) -> None:
        """Outlets add up to what the channel may sell, of products and kits."""
        request = availability_pb.CheckAvailabilityRequest(
            channel_id="web", skus=[*SKUS, *KITS], item_ids=ITEMS, include_outlets=True
        )
        answer = await self.shop.availability.CheckAvailability(request)
        assert len(answer.availabilities) == len(SKUS) + len(KITS) + len(ITEMS)
        for figure in answer.availabilities:
            assert sum(outlet.sellable_count for outlet in figure.outlets) == figure.sellable_count, figure

    async def check_requests(self) -> None:
        """A request is open for as long as an exception about it is, and cancels no more than was asked for."""
        open_ids = {x.exception_id for x in await self.shop.open_exceptions() if x.kind == "cancel_requested"}
        asked = set()
        for request in itertools.chain.from_iterable(self.asked.values()):
            assert request.cancelled_count <= request.unit_count, request
            if request.state == allocation_pb.CancellationRequest.STATE_REQUESTED:
                asked.add(request.exception_id)
        assert asked == open_ids

    async def check_unmet_demand(self) -> None:
        """The channel's reports are kept once, in units."""
        kinds = [demand_pb.DEMAND_KIND_REPORTED]
        answer = await self.shop.availability.SumUnmetDemand(demand_pb.SumUnmetDemandRequest(kinds=kinds))
        assert {x.sku: x.unmet_count for x in answer.sums} == dict(self.unmet)


def check_parcels(allocation: Allocation) -> None:
    """The parcels of a shipment have no more units of a line than have shipped."""
    for shipment in allocation.shipments:
        shipped = {line.line_id: line.shipped_count for line in shipment.lines}
        packed: Counter[str] = Counter()
        for parcel in shipment.parcels:
            packed.update({line.line_id: line.unit_count for line in parcel.lines})
        assert all(count <= shipped.get(line_id, 0) for line_id, count in packed.items()), (shipment, packed)


def check_units(allocation: Allocation) -> None:
    """Every unit of every line is promised, shipped, short, backordered or cancelled."""
    for line in allocation.lines if allocation.state in LIVE else ():
        counts = (line.promised_count, line.shipped_count, line.short_count, line.backordered_count)
        assert sum(counts) + line.cancelled_count == line.unit_count, (allocation, line)


def check_placement(allocation: Allocation) -> None:
    """No line has units promised at a location that may not ship it."""
    lines = {line.line_id: line for line in allocation.lines}
    for shipment in allocation.shipments:
        for units in shipment.lines:
            line = lines[units.line_id]
            allowed = line.only_location_ids or LOCATION_IDS
            is_allowed = shipment.location_id in allowed and shipment.location_id not in line.not_location_ids
            assert is_allowed or not units.unit_count, (allocation, units)


async def play(retailers: RetailerMaker, seed: int, steps: int) -> None:
    shop = RandomShop(await retailers.make(RESOLVED_RULES), seed)
    await shop.set_up()
    for _ in range(steps):
        await shop.step()
    await check_report(shop.shop)
    print(dict(shop.done))  # noqa: T201


async def test_random_orders_of_kits_items_and_groups_conserve_every_unit(retailers: RetailerMaker) -> None:
    await play(retailers, seed=1, steps=25)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 4))
async def test_longer_random_orders_of_kits_items_and_groups_conserve_every_unit(
    retailers: RetailerMaker, seed: int
) -> None:
    await play(retailers, seed, steps=150)
