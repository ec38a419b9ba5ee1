"""A retailer in random steps through the API, with invariants checked after each step."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import grpc
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.invariants import (
    LIVE,
    Allocation,
    Snapshot,
    check_causes,
    check_commitments,
    check_kept,
    check_levels,
    check_lines,
    check_locations,
    check_outcomes,
    check_outlets,
    check_parcels,
    check_wholes,
    fillable_backorder,
)
from tests.plain_model import (
    Contents,
    FulfillmentChoice,
    LevelKey,
    ModelItem,
    ModelKit,
    ModelOrder,
    ModelTransfer,
    PlainModel,
)
from tests.retailer import HOLD, SOLD, Retailer, change, eventually, kit_of, line_units, movement, request_id
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    channel_figure_pb2 as figure_pb,
    demand_pb2 as demand_pb,
    exception_pb2,
    exception_service_pb2 as exception_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    order_pb2,
    outlet_pb2,
    shipment_pb2,
    stock_service_pb2 as stock_pb,
)

LOCATIONS = ("a-store", "b-store", "dc", "shut")
"""`b-store` serves one country only, and `shut` is closed."""
START = 3
"""Units of each product that each location has at first."""
ORDERS = ("A-1", "A-2", "A-3", "A-4")
TAGS = ("", "launch", "clearance")
"""Product tags; policy leaves short units to a person, backorders them or cancels them, in this order."""
REFUSALS = {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}

State = shipment_pb2.Shipment.State
Request = allocation_pb.CancellationRequest
OPEN_EXCEPTION = exception_pb2.ExceptionRecord.STATE_OPEN
OPEN = {State.STATE_ASSIGNED, State.STATE_ACCEPTED, State.STATE_READY_FOR_PICKUP}
LEAVING = {State.STATE_ASSIGNED, State.STATE_ACCEPTED}
KINDS: dict[int, int] = {
    stock_pb.MOVEMENT_KIND_RECEIVED: 1,
    stock_pb.MOVEMENT_KIND_RETURNED: 1,
    stock_pb.MOVEMENT_KIND_FOUND: 1,
    stock_pb.MOVEMENT_KIND_SOLD: -1,
    stock_pb.MOVEMENT_KIND_DAMAGED: -1,
    stock_pb.MOVEMENT_KIND_LOST: -1,
}
REASONS = ("not_found", "damaged", "no_capacity", "closed", "set_aside", "other")
DISPOSITIONS = ("sellable", "inspect", "damaged", "not_returned")

_retailer_numbers = itertools.count(1)
_event_numbers = itertools.count(1)
small = st.integers(0, 5)
few = st.integers(1, 3)
location_ids = st.sampled_from(LOCATIONS)
orders = st.sampled_from(ORDERS)
skus = st.integers(0, len(TAGS) - 1)
OUTLETS = ("all-but-some", "some")
"""Outlets of the channel. Their pools change while orders use them."""
homes = st.fixed_dictionaries({location_id: st.sampled_from(("", *OUTLETS)) for location_id in LOCATIONS})
delivery_ways = st.sampled_from(
    [
        FulfillmentChoice(),
        FulfillmentChoice(country="US"),
        FulfillmentChoice(country="CA"),
        FulfillmentChoice("a-store", is_pickup=True),
        FulfillmentChoice(outlet="some"),
        FulfillmentChoice(country="US", outlet="all-but-some"),
        FulfillmentChoice(not_at="dc"),
        FulfillmentChoice(outlet="some", not_at="a-store", by_item=True),
        FulfillmentChoice(by_item=True),
        FulfillmentChoice(is_together=True),
        FulfillmentChoice(country="CA", not_at="a-store", is_together=True),
        FulfillmentChoice(only_at=("a-store", "dc")),
        FulfillmentChoice(country="US", outlet="some", only_at=("b-store", "dc"), by_item=True, is_together=True),
    ]
)
KITS = ("set", "gift")
"""Kits: of plain and launch products, shipped whole, and of launch and clearance products, which may be split."""
ITEM_UNITS = (2, 1, 3, 1, 2)
"""Units at first in the channel's item of each product, and then of each kit."""
kits = st.integers(0, len(KITS) - 1)
items = st.integers(0, len(ITEM_UNITS) - 1)
carts = st.lists(st.tuples(st.integers(0, len(TAGS) + len(KITS) - 1), few), min_size=1, max_size=3)
"""Products, then kits, with their numbers."""
delays = st.sampled_from([0, 0, 0, 0, 1, 2, 5])
"""How many steps ago an event happened that is reported now."""


WRONG_MOVEMENT_COUNTS = """
SELECT level.sku, level.location_id, level.movements_since_count, count(movement.id)
FROM stock_level AS level LEFT JOIN stock_movement AS movement
    ON movement.sku = level.sku AND movement.location_id = level.location_id AND movement.on_hand_delta <> 0
    AND movement.effective_time > level.physical_count_time
    AND movement.kind NOT IN ('counted', 'found', 'lost', 'adjusted', 'ship_undone', 'transfer_cancelled')
WHERE level.physical_count_time IS NOT NULL
GROUP BY level.sku, level.location_id
HAVING level.movements_since_count <> count(movement.id)
"""

PARTLY_EXPIRED = """
SELECT allocation.id FROM promise JOIN allocation ON allocation.id = promise.allocation_id
WHERE (promise.state = 'held' OR allocation.state = 'held') AND promise.unit_count > 0
    AND (promise.expire_time IS DISTINCT FROM allocation.expire_time OR promise.state <> allocation.state)
"""
"""Holds of which units expire before or after the others: who read the order in between would release them twice."""


class RandomRetailer(RuleBasedStateMachine):
    """One retailer with products of its own, in a database that many retailers share.

    No step has a precondition: the service answers by a real clock, and steps that depend on its answers are others
    when Hypothesis repeats a life. A step that has nothing to act on does nothing.
    """

    runner: ClassVar[asyncio.Runner]
    shop: ClassVar[Retailer]
    resolves_by_policy: ClassVar[bool]
    """Whether the rules reroute, backorder and cancel, and use every location that they allow."""
    kept_percent: ClassVar[int] = 0
    """The share of each product that the rules keep from every order at every location."""
    steps_passed: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        number = next(_retailer_numbers)
        self.skus = [f"P{number}-{tag or 'plain'}" for tag in TAGS]
        self.kit_skus = [f"P{number}-{kit}" for kit in KITS]
        self.kits: dict[str, dict[str, int]] = {}
        """The components of each kit now, by SKU."""
        self.item_units: dict[str, int] = {}
        """Units in the channel's item of each product and kit now, by SKU."""
        self.in_pieces: set[str] = set()
        """Orders of which units shipped or were rejected: what is left of a kit, item or group may be single units."""
        self.order_ids = {order: f"{number}-{order}" for order in ORDERS}
        self.paper = PlainModel()
        self.moments: list[datetime] = []
        self.allocation_ids: dict[str, str] = {}
        self.calls: list[tuple[Any, Any, Any]] = []
        """Calls with a request id, and their responses."""
        self.events: list[tuple[Any, Any]] = []
        """Calls with an event id."""
        self.shipped: dict[tuple[str, str], tuple[str, datetime, dict[str, int]]] = {}
        """By (shipment id, event id): the order, and when how many units of which lines left."""
        self.undone: set[tuple[str, str]] = set()
        self.has_unswept_hold = False
        self.unmet: Counter[str] = Counter()
        """Units of each product that the channel reported as unmet demand."""
        self.homes: dict[str, frozenset[str]] = {}
        self.snapshot = Snapshot()
        self.run(self._set_up())
        for key in itertools.product(self.skus, LOCATIONS):
            when = self._moment(0)
            self._record(key, when, count=stock_pb.StockCount(on_hand_count=START))
            self.paper.record_count(key, when, START, None)
        self.snapshot = self.run(self._take_snapshot())

    def run(self, call: Any) -> Any:
        """Waits for a response. The service does not run between calls."""
        return self.runner.run(_answer(call))

    @property
    def has_shipments(self) -> bool:
        return any(order.shipments for order in self.snapshot.orders.values())

    async def _set_up(self) -> None:
        products = [
            catalog_pb.Product(sku=sku, tags=[tag] if tag else []) for sku, tag in zip(self.skus, TAGS, strict=True)
        ]
        await self.shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products))
        kit_products = [catalog_pb.Product(sku=sku) for sku in self.kit_skus]
        await self.shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=kit_products))
        await self._set_kit(0, (1, 2))
        await self._set_kit(1, (1, 1))
        await self._set_homes({"a-store": "some", "b-store": "some", "dc": "all-but-some"})
        for number, units in enumerate(ITEM_UNITS):
            await self._list_item(number, units)
        outlets = [outlet_pb2.Outlet(channel_id="web", outlet_id=name, pool_id=name) for name in OUTLETS]
        await self.shop.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=outlets))

    async def _set_homes(self, homes: Mapping[str, str]) -> None:
        """Gives each outlet the locations that have it as their home; an outlet without any loses its pool."""
        self.homes = {name: frozenset(x for x, home in homes.items() if home == name) for name in OUTLETS}
        for name in [name for name, location_ids in self.homes.items() if not location_ids]:
            with suppress(grpc.aio.AioRpcError):
                await self.shop.catalog.DeletePool(outlet_pb2.DeletePoolRequest(pool_id=name))
        pools = [outlet_pb2.Pool(pool_id=name, location_ids=sorted(x)) for name, x in self.homes.items() if x]
        if pools:
            await self.shop.catalog.UpsertPools(outlet_pb2.UpsertPoolsRequest(pools=pools))

    async def _take_snapshot(self) -> Snapshot:
        levels = await self._read_levels()
        while True:
            answers = await asyncio.gather(
                *(self.shop.get(allocation_id) for allocation_id in self.allocation_ids.values())
            )
            earlier, levels = levels, await self._read_levels() if self._may_be_swept else levels
            if earlier == levels:
                orders = zip(self.allocation_ids, answers, strict=True)
                return Snapshot(levels, {order: answer.allocation for order, answer in orders})

    async def _read_levels(self) -> dict[LevelKey, tuple[int, int, int]]:
        """On hand, unavailable and promised units."""
        request = stock_pb.ListStockLevelsRequest(skus=self.skus)
        levels = (await self.shop.stock_service.ListStockLevels(request)).stock_levels
        return {
            (x.sku, x.location_id): (x.on_hand_count, x.unavailable_count, x.held_count + x.allocated_count)
            for x in levels
        }

    # Stock

    @rule(
        sku=skus,
        location_id=location_ids,
        units=st.integers(0, 8),
        unavailable=st.sampled_from([None, None, 0, 1]),
        ago=delays,
    )
    def count(self, sku: int, location_id: str, units: int, unavailable: int | None, ago: int) -> None:
        key, when = (self.skus[sku], location_id), self._moment(ago)
        counted = stock_pb.StockCount(on_hand_count=units)
        if unavailable is not None:
            unavailable = counted.unavailable_count = min(units, unavailable)
        self._record(key, when, count=counted)
        self.paper.record_count(key, when, units, unavailable)
        self._check("count")

    @rule(sku=skus, location_id=location_ids, kind=st.sampled_from(sorted(KINDS)), units=few, ago=delays)
    def move(self, sku: int, location_id: str, kind: int, units: int, ago: int) -> None:
        key, when = (self.skus[sku], location_id), self._moment(ago)
        self._record(key, when, movement=movement(kind, units))
        self.paper.record_movement(key, when, KINDS[kind] * units)
        self._check("move")

    # Transfers

    @rule(
        sku=skus,
        way=st.permutations(LOCATIONS),
        units=few,
        ago=delays,
    )
    def dispatch_a_transfer(self, sku: int, way: list[str], units: int, ago: int) -> None:
        origin, destination = (self.skus[sku], way[0]), (self.skus[sku], way[1])
        transfer_id = f"{self.skus[0]}-{len(self.paper.transfers)}"
        step = stock_pb.TransferDispatch(from_location_id=way[0], to_location_id=way[1])
        step.units.add(sku=origin[0], unit_count=units)
        when = self._effective_time(step, ago)
        on_hand, unavailable, promised_units = self.snapshot.levels[origin]
        is_counted = ago > 0 and self.paper.count_includes(origin, when)
        has_left = is_counted or units <= on_hand - unavailable - promised_units
        answer = self._transfer(transfer_id, must_succeed=has_left, dispatch=step)
        if answer is not None:
            self.paper.dispatch(transfer_id, ModelTransfer(origin, destination, when, units, is_dated=ago > 0))
        self._check("dispatch a transfer")

    @rule(which=small, units=small, complete=st.booleans(), ago=delays)
    def receive_a_transfer(self, which: int, units: int, complete: bool, ago: int) -> None:
        if not self.paper.transfers:
            return
        transfer_id, transfer = self._existing_transfer(which)
        step = stock_pb.TransferReceipt(complete=complete)
        if units:
            step.units.add(sku=transfer.destination[0], unit_count=units)
        when = transfer.after_dispatch(self._effective_time(step, ago))
        is_open = transfer.state == "in_transit"
        answer = self._transfer(transfer_id, must_succeed=is_open and bool(units or complete), receipt=step)
        if answer is not None and is_open:
            self.paper.receive(transfer, when, units, complete=complete)
            self._check_transfer(answer, transfer)
        self._check("receive a transfer")

    @rule(which=small, ago=delays)
    def cancel_a_transfer(self, which: int, ago: int) -> None:
        if not self.paper.transfers:
            return
        transfer_id, transfer = self._existing_transfer(which)
        request = stock_pb.CancelTransferRequest(transfer_id=transfer_id, request_id=request_id())
        when = transfer.after_dispatch(self._effective_time(request, ago))
        # A repeated cancellation with another time is refused.
        must_succeed = transfer.state == "in_transit" or (transfer.state == "cancelled" and not ago)
        must_fail = transfer.state == "completed"
        answer = self._call(
            self.shop.stock_service.CancelTransfer, request, must_succeed=must_succeed, must_fail=must_fail
        )
        if answer is not None and transfer.state == "in_transit":
            self.paper.cancel_transfer(transfer, when, is_stated=ago > 0)
            self._check_transfer(answer, transfer)
        self._check("cancel a transfer")

    def _transfer(self, transfer_id: str, *, must_succeed: bool, **step: Any) -> Any:
        request = stock_pb.TransferStockRequest(transfer_id=transfer_id, request_id=request_id(), **step)
        must_succeed = must_succeed and not self.has_unswept_hold
        return self._call(self.shop.stock_service.TransferStock, request, must_succeed=must_succeed)

    def _existing_transfer(self, which: int) -> tuple[str, ModelTransfer]:
        """A transfer; those in transit come first."""
        transfers = sorted(self.paper.transfers.items(), key=lambda pair: pair[1].state != "in_transit")
        return transfers[which % len(transfers)]

    def _effective_time(self, step: Any, ago: int) -> datetime:
        """When a step happened: `ago` steps ago, or now, which is not stated in the request."""
        when = self._moment(ago)
        if not ago:
            # The service's clock: a count dated with this moment comes before.
            return when + timedelta(microseconds=1)
        step.effective_time.FromDatetime(when)
        return when

    def _check_transfer(self, answer: Any, transfer: ModelTransfer) -> None:
        (line,) = answer.transfer.lines
        counts = (line.dispatched_count, line.received_count, line.returned_count)
        assert counts == (transfer.dispatched, transfer.received, transfer.returned)
        assert answer.transfer.state == stock_pb.Transfer.State.Value(f"STATE_{transfer.state.upper()}")

    def _record(self, key: LevelKey, when: datetime, **fields: Any) -> None:
        request = stock_pb.RecordStockChangesRequest(
            source="counter", changes=[change(*key, at=when, **fields)], request_id=request_id()
        )
        self._call(self.shop.stock_service.RecordStockChanges, request)

    # Catalog

    # One rule for all edits: as many rules as there are kinds of them would leave few steps for orders.
    @rule(edit=homes | st.tuples(kits, st.tuples(few, few)) | st.tuples(items, few))
    def edit_the_catalog(self, edit: dict[str, str] | tuple[int, int] | tuple[int, tuple[int, int]]) -> None:
        """Changes the outlets, a kit or a listing. Open orders keep the locations and units that they were given."""
        if isinstance(edit, dict):
            self.run(self._set_homes(edit))
        elif isinstance(edit[1], tuple):
            self.run(self._set_kit(edit[0], edit[1]))
        else:
            self.run(self._list_item(edit[0], edit[1]))
        self._check("edit the catalog", changes=False)

    async def _set_kit(self, kit: int, sizes: tuple[int, int]) -> None:
        sku = self.kit_skus[kit]
        self.kits[sku] = dict(zip(self.skus[kit : kit + 2], sizes, strict=True))
        await self.shop.upsert_kits(kit_of(sku, self.kits[sku], may_split=KITS[kit] == "gift"))

    async def _list_item(self, item: int, units: int) -> None:
        sku = [*self.skus, *self.kit_skus][item]
        self.item_units[sku] = units
        await self.shop.list_item("web", _item_of(sku), sku, units)

    # Orders

    # Hypothesis leaves some of the rules out of each life; one without orders would say little.
    @initialize(first=st.lists(st.tuples(carts, st.booleans(), delivery_ways), min_size=2, max_size=len(ORDERS)))
    def first_orders(self, first: list[tuple[list[tuple[int, int]], bool, FulfillmentChoice]]) -> None:
        for order, (cart, sold, way) in zip(ORDERS, first, strict=False):
            self._order(order, self._lines(cart), sold=sold, way=way)
            self._check("first order")
        assert len(self.snapshot.orders) == len(first)

    @rule(order=orders, cart=carts, sold=st.booleans(), way=delivery_ways, named=st.booleans())
    def order(self, order: str, cart: list[tuple[int, int]], sold: bool, way: FulfillmentChoice, named: bool) -> None:
        self._order(order, self._lines(cart, prefix="x" if named else ""), sold=sold, way=way)
        self._check("sell" if sold else "hold")

    def _lines(self, cart: list[tuple[int, int]], prefix: str = "") -> Contents:
        skus = [*self.skus, *self.kit_skus]
        return {f"{prefix}{n}": (skus[which], units) for n, (which, units) in enumerate(cart, 1)}

    @rule(order=orders, sold=st.booleans())
    def repeat_an_order(self, order: str, sold: bool) -> None:
        order = self._existing_order(order)
        ordered = self.paper.orders[order]
        self._order(order, ordered.stated_lines(), sold=sold, way=ordered.choice)
        self._check("repeat an order")

    def _order(self, order: str, stated: Contents, *, sold: bool, way: FulfillmentChoice) -> None:
        request = allocation_pb.AllocateOrderRequest(
            channel_id="web",
            order_id=self.order_ids[order],
            commitment=SOLD if sold else HOLD,
            lines=[_line(x, sku, units, way) for x, (sku, units) in stated.items()],
            request_id=request_id(),
        )
        if way.country:
            request.destination.country = way.country
        if way.is_pickup:
            request.method = order_pb2.FULFILLMENT_METHOD_PICKUP
            request.pickup_location_id = way.pickup_at or ""
        request.outlet_id = way.outlet
        request.hold_duration.FromTimedelta(timedelta(hours=1))
        answer = self._call(self.shop.allocations.AllocateOrder, request)
        if answer is None:
            return
        self.allocation_ids[order] = answer.allocation.allocation_id
        paper = self.paper.orders.setdefault(order, ModelOrder())
        lines, kits, items = self._contents(paper, stated, way)
        before = self.snapshot.orders.get(order)
        # A live order keeps the locations that its outlet had.
        is_kept = before is not None and before.state in LIVE and paper.choice.outlet == way.outlet
        locations = paper.choice.outlet_locations if is_kept else self.homes.get(way.outlet, frozenset())
        way = replace(way, outlet_locations=locations)
        if not answer.allocation.change_refused and not self._keeps_contents(paper, before, lines, way, sold=sold):
            paper.replace_contents(way, lines, kits, items, sold=sold)
        elif sold and before is not None and before.state == Allocation.STATE_HELD:
            paper.sold = True

    def _contents(
        self, paper: ModelOrder, stated: Contents, way: FulfillmentChoice
    ) -> tuple[Contents, Mapping[str, ModelKit], Mapping[str, ModelItem]]:
        """The lines in units, those of components in place of kits, and what they are of their kits and items."""
        lines: dict[str, tuple[str, int]] = {}
        kits: dict[str, ModelKit] = {}
        items: dict[str, ModelItem] = {}
        for line_id, (sku, count) in stated.items():
            each = (paper.units_each_of(line_id, sku, count) or self.item_units[sku]) if way.by_item else 1
            own: dict[str, tuple[str, int]] = {} if sku in self.kits else {line_id: (sku, count * each)}
            for component, size in (paper.components_of(line_id, sku) or self.kits.get(sku, {})).items():
                own[f"{line_id}/{component}"] = (component, count * each * size)
                kits[f"{line_id}/{component}"] = ModelKit(line_id, sku, size)
            lines |= own
            if way.by_item:
                items |= dict.fromkeys(own, ModelItem(count, each))
        return lines, kits, items

    def _keeps_contents(
        self,
        paper: ModelOrder,
        before: Allocation | None,
        lines: Contents,
        way: FulfillmentChoice,
        *,
        sold: bool,
    ) -> bool:
        """Whether the order keeps its contents: the request repeats them, or is a cart of a paid order."""
        if before is None:
            return False
        if paper.sold and not sold:
            return True
        was_cancelled = any(line.cancelled for line in paper.lines.values())
        if paper.sold and was_cancelled and (paper.ordered_contents(), paper.choice) == (lines, way):
            return True
        if paper.is_cancelled:
            skus = {line_id: sku for line_id, (sku, _) in lines.items()}
            return any(line.shipped and skus.get(x, line.sku) != line.sku for x, line in paper.lines.items())
        if before.state not in LIVE:
            return False
        if any(line.shipped for line in paper.lines.values()):
            unshipped = paper.unshipped(lines)
            return unshipped == paper.unshipped(paper.contents()) and (not unshipped or paper.choice == way)
        return (paper.contents(), paper.choice) == (lines, way)

    @rule(order=orders)
    def confirm(self, order: str) -> None:
        order = self._existing_order(order)
        request = allocation_pb.ConfirmAllocationRequest(
            allocation_id=self.allocation_ids[order], request_id=request_id()
        )
        if self._call(self.shop.allocations.ConfirmAllocation, request) is not None:
            self.paper.orders[order].sold = True
        self._check("confirm")

    @rule(order=orders)
    def release(self, order: str) -> None:
        order = self._existing_order(order)
        request = allocation_pb.ReleaseAllocationRequest(
            allocation_id=self.allocation_ids[order], request_id=request_id()
        )
        self._call(self.shop.allocations.ReleaseAllocation, request)
        self._check("release")

    @rule(order=orders)
    def a_hold_expires(self, order: str) -> None:
        order = self._existing_order(order)
        if self.snapshot.orders[order].state != Allocation.STATE_HELD:
            return
        self.run(self.shop.expire(self.snapshot.orders[order]))
        self.has_unswept_hold = True
        self._check("expire")

    @rule(order=orders, line=small, units=few, shipment=st.sampled_from([None, None, 0, 1]))
    def cancel(self, order: str, line: int, units: int, shipment: int | None) -> None:
        order = self._existing_order(order)
        allocation = self.snapshot.orders[order]
        chosen_line = allocation.lines[line % len(allocation.lines)]
        members = [x for x in allocation.lines if x.kit_line_id and x.kit_line_id == chosen_line.kit_line_id]
        members, cancelled_id = members or [chosen_line], chosen_line.kit_line_id or chosen_line.line_id
        cancellation = allocation_pb.LineCancellation(line_id=cancelled_id, unit_count=units)
        lines = self.paper.orders[order].lines
        if chosen_line.item_id:
            cancellation.item_id = chosen_line.item_id
            units *= lines[chosen_line.line_id].units_each
        if shipment is not None and allocation.shipments:
            cancellation.shipment_id = allocation.shipments[shipment % len(allocation.shipments)].shipment_id
        request = allocation_pb.CancelOrderLinesRequest(
            allocation_id=allocation.allocation_id, cancellations=[cancellation], request_id=request_id()
        )
        fits = all(
            units * (x.units_per_kit or 1) <= x.promised_count + x.short_count + x.backordered_count for x in members
        )
        must_succeed = allocation.state in LIVE and fits and not cancellation.shipment_id
        if self._call(self.shop.allocations.CancelOrderLines, request, must_succeed=must_succeed) is not None:
            for member in members:
                lines[member.line_id].cancelled += units * (member.units_per_kit or 1)
        self._check("cancel")

    @rule(order=orders)
    def cancel_everything(self, order: str) -> None:
        order = self._existing_order(order)
        request = allocation_pb.CancelOrderLinesRequest(
            allocation_id=self.allocation_ids[order], whole_order=True, request_id=request_id()
        )
        self._call(self.shop.allocations.CancelOrderLines, request, must_succeed=True)
        self.paper.orders[order].cancel_everything()
        self._check("cancel everything")

    @rule(order=orders, accepts=st.booleans())
    def ask_to_cancel(self, order: str, accepts: bool) -> None:
        """A shopper asks to cancel all of an order, and the desk answers, if the rules leave it to the desk."""
        order = self._existing_order(order)
        request = allocation_pb.RequestCancellationRequest(
            allocation_id=self.allocation_ids[order], whole_order=True, event_id=_event(), request_id=request_id()
        )
        answer = self._call(self.shop.allocations.RequestCancellation, request)
        if answer is not None:
            asked = answer.cancellation_request
            if asked.state == Request.STATE_REQUESTED:
                resolution = f"EXCEPTION_RESOLUTION_{'CANCELLED' if accepts else 'DECLINED'}"
                self.run(self.shop.resolve(asked.exception_id, exception_pb2.ExceptionResolution.Value(resolution)))
                asked = self.run(self.shop.get(self.allocation_ids[order])).cancellation_requests[-1]
            assert asked.state in (Request.STATE_ACCEPTED, Request.STATE_DECLINED), asked
            # Of an order that promises nothing, nothing is cancelled either.
            if asked.cancelled_count:
                self.paper.orders[order].cancel_everything()
        self._check("ask to cancel")

    @rule(order=orders, which=small, cancels=st.booleans())
    def resolve_a_shortage(self, order: str, which: int, cancels: bool) -> None:
        """A person cancels or reroutes what an open exception says is short."""
        order = self._existing_order(order)
        exceptions = self.run(self.shop.get(self.allocation_ids[order])).exceptions
        short = [x for x in exceptions if x.state == OPEN_EXCEPTION and x.kind in ("oversell", "unfillable")]
        if not short:
            return
        resolution = f"EXCEPTION_RESOLUTION_{'CANCELLED' if cancels else 'REROUTED'}"
        request = exception_pb.ResolveExceptionRequest(
            exception_id=short[which % len(short)].exception_id,
            resolution=exception_pb2.ExceptionResolution.Value(resolution),
            actor="kim",
            request_id=request_id(),
        )
        if self._call(self.shop.exceptions.ResolveException, request) is not None and cancels:
            before, after = self.snapshot.orders[order], self.run(self.shop.get(self.allocation_ids[order])).allocation
            for line, was in zip(after.lines, before.lines, strict=True):
                cancelled = line.cancelled_count - was.cancelled_count
                assert cancelled == was.short_count + was.backordered_count - line.short_count - line.backordered_count
                self.paper.orders[order].lines[line.line_id].cancelled = line.cancelled_count
        self._check("resolve a shortage")

    # Reports of the channel

    @rule(sku=skus, outlet=st.sampled_from(OUTLETS), more=st.integers(0, 2))
    def show_figures(self, sku: int, outlet: str, more: int) -> None:
        """The channel shows what it was told of each outlet, or more in one of them."""
        if self._may_be_swept:
            return
        request = availability_pb.CheckAvailabilityRequest(
            channel_id="web", skus=[self.skus[sku]], include_outlets=True
        )
        (told,) = self.run(self.shop.availability.CheckAvailability(request)).availabilities
        figures = [
            figure_pb.ChannelFigure(
                sku=told.sku, outlet_id=x.outlet_id, shown_count=x.sellable_count + more * (x.outlet_id == outlet)
            )
            for x in told.outlets
            if x.outlet_id
        ]
        shown = figure_pb.RecordChannelFiguresRequest(channel_id="web", figures=figures)
        results = self.run(self.shop.availability.RecordChannelFigures(shown)).results
        differences = {x.outlet_id: y.difference_count for x, y in zip(figures, results, strict=True)}
        open_mismatches = {
            x.outlet_id
            for x in self.run(self.shop.open_exceptions(kinds=["mismatch"], skus=[told.sku]))
            if x.sub_kind == "channel"
        }

        assert differences == {x: more * (x == outlet) for x in OUTLETS}, told
        assert open_mismatches == ({outlet} if more else set()), told
        self._check("show figures", changes=False)

    @rule(sku=skus, wanted=few, by_item=st.booleans())
    def report_unmet_demand(self, sku: int, wanted: int, by_item: bool) -> None:
        """The channel tells twice what it could not sell; it counts once."""
        event = demand_pb.UnmetDemandEvent(event_id=_event(), channel_id="web", wanted_count=wanted)
        if by_item:
            event.item_id = _item_of(self.skus[sku])
        else:
            event.sku = self.skus[sku]
        event.demand_time.GetCurrentTime()
        report = demand_pb.RecordUnmetDemandRequest(events=[event])
        for _ in range(2):
            self.run(self.shop.availability.RecordUnmetDemand(report))
        self.unmet[self.skus[sku]] += wanted * (self.item_units[self.skus[sku]] if by_item else 1)
        kinds = [demand_pb.DEMAND_KIND_REPORTED]
        sums = self.run(
            self.shop.availability.SumUnmetDemand(demand_pb.SumUnmetDemandRequest(kinds=kinds, skus=self.skus))
        ).sums

        assert sum((Counter({x.sku: x.unmet_count}) for x in sums), Counter()) == self.unmet
        self._check("report unmet demand", changes=False)

    # Shipments

    @rule(which=small)
    def accept(self, which: int) -> None:
        if not self.has_shipments:
            return
        _, shipment = self._shipment(which)
        request = fulfillment_pb.AcceptShipmentRequest(shipment_id=shipment.shipment_id, request_id=request_id())
        self._call(self.shop.fulfillment.AcceptShipment, request)
        self._check("accept")

    @rule(which=small)
    def mark_ready(self, which: int) -> None:
        if not self.has_shipments:
            return
        _, shipment = self._shipment(which)
        request = fulfillment_pb.MarkReadyForPickupRequest(shipment_id=shipment.shipment_id, request_id=request_id())
        self._call(self.shop.fulfillment.MarkReadyForPickup, request)
        self._check("mark ready")

    @rule(
        which=small,
        parts=st.none() | st.dictionaries(small, few, min_size=1, max_size=2),
        ago=delays,
        tracking_number=st.sampled_from(["", "", "1Z-1", "1Z-2"]),
    )
    def ship(self, which: int, parts: dict[int, int] | None, ago: int, tracking_number: str) -> None:
        if not self.has_shipments:
            return
        order, shipment = self._shipment(which)
        units = _units_of(shipment, parts)
        request = fulfillment_pb.ShipShipmentRequest(
            shipment_id=shipment.shipment_id, lines=line_units(units), event_id=_event(), request_id=request_id()
        )
        if tracking_number:
            request.parcels.add(carrier="UPS", tracking_number=tracking_number)
        self._fulfill(order, shipment, self.shop.fulfillment.ShipShipment, request, units, ago, is_pickup=False)
        self._check("ship in a parcel" if tracking_number else "ship")

    @rule(which=small, ago=delays, event=st.booleans())
    def deliver(self, which: int, ago: int, event: bool) -> None:
        if not self.has_shipments:
            return
        order, shipment = self._shipment(which)
        # A carrier may use one number for a parcel in both its shipped and its delivered event.
        shipped = (
            [x.event_id for _, x in self.events if getattr(x, "shipment_id", "") == shipment.shipment_id]
            if event
            else []
        )
        request = fulfillment_pb.DeliverShipmentRequest(
            shipment_id=shipment.shipment_id, event_id=shipped[0] if shipped else _event(), request_id=request_id()
        )
        answer = self._fulfill(
            order, shipment, self.shop.fulfillment.DeliverShipment, request, None, ago, is_pickup=False
        )
        if answer is not None:
            (now,) = [x for x in answer.allocation.shipments if x.shipment_id == shipment.shipment_id]
            assert now.state == State.STATE_DELIVERED
            assert not any(line.unit_count for line in now.lines)
        self._check("deliver")

    @rule(which=small, ago=delays)
    def collect(self, which: int, ago: int) -> None:
        if not self.has_shipments:
            return
        order, shipment = self._shipment(which)
        request = fulfillment_pb.CollectShipmentRequest(
            shipment_id=shipment.shipment_id, event_id=_event(), request_id=request_id()
        )
        self._fulfill(order, shipment, self.shop.fulfillment.CollectShipment, request, None, ago, is_pickup=True)
        self._check("collect")

    def _fulfill(
        self,
        order: str,
        shipment: shipment_pb2.Shipment,
        call: Any,
        request: Any,
        units: dict[str, int] | None,
        ago: int,
        *,
        is_pickup: bool,
    ) -> Any:
        """Ships or collects units that have not shipped; all of them if `units` is None."""
        when = self._event_time(request, ago)
        paper = self.paper.orders[order]
        is_allowed = self._is_sold(order) and paper.choice.is_pickup == is_pickup
        is_allowed = is_allowed and shipment.state in (OPEN if is_pickup else LEAVING)
        units_by_line = {line.line_id: line.unit_count for line in shipment.lines if line.unit_count}
        leaving = units if units is not None else units_by_line
        fits = all(count <= units_by_line.get(line_id, 0) for line_id, count in leaving.items())
        answer = self._call(call, request, must_succeed=is_allowed and fits, must_fail=is_allowed and not fits)
        if answer is not None and is_allowed:
            self.in_pieces.add(order)
            for line_id, count in leaving.items():
                line = paper.lines[line_id]
                line.shipped += count
                self.paper.record_movement((line.sku, shipment.location_id), when, -count)
            if isinstance(request, fulfillment_pb.ShipShipmentRequest):
                self.shipped[shipment.shipment_id, request.event_id] = (order, when, dict(leaving))
        return answer

    @rule(which=st.integers(0, 1_000))
    def undo_shipping(self, which: int) -> None:
        if not self.shipped:
            return
        event = sorted(self.shipped)[which % len(self.shipped)]
        order, when, units = self.shipped[event]
        allocation = self.snapshot.orders[order]
        (shipment,) = [x for x in allocation.shipments if x.shipment_id == event[0]]
        out = {x.line_id: x.shipped_count - x.returned_count - x.refunded_count for x in shipment.lines}
        may_undo = shipment.state != State.STATE_DELIVERED and allocation.state == Allocation.STATE_CONFIRMED
        may_undo = may_undo and all(count <= out.get(line_id, 0) for line_id, count in units.items())
        is_repeated = event in self.undone
        request = fulfillment_pb.UndoShipmentRequest(shipment_id=event[0], event_id=event[1], request_id=request_id())
        answer = self._call(
            self.shop.fulfillment.UndoShipment,
            request,
            must_succeed=may_undo or is_repeated,
            must_fail=not (may_undo or is_repeated),
        )
        if answer is not None and not is_repeated:
            self.undone.add(event)
            excess = {x.line_id: x.excess_count - x.returned_count - x.refunded_count for x in allocation.lines}
            for line_id, count in units.items():
                line = self.paper.orders[order].lines[line_id]
                line.shipped -= count
                line.cancelled += min(count, max(0, excess[line_id]))
                self.paper.record_movement((line.sku, shipment.location_id), when, count)
        self._check("undo shipping", changes=not is_repeated)

    @rule(which=small)
    def return_uncollected(self, which: int) -> None:
        if not self.has_shipments:
            return
        order, shipment = self._shipment(which)
        request = fulfillment_pb.ReturnUncollectedRequest(
            shipment_id=shipment.shipment_id, event_id=_event(), request_id=request_id()
        )
        is_allowed = self._is_sold(order) and self.paper.orders[order].choice.is_pickup and shipment.state in OPEN
        if (
            self._call(self.shop.fulfillment.ReturnUncollected, request, must_succeed=is_allowed) is not None
            and is_allowed
        ):
            for line in shipment.lines:
                self.paper.orders[order].lines[line.line_id].cancelled += line.unit_count
        self._check("return uncollected")

    @rule(
        which=small,
        reason=st.sampled_from(REASONS),
        parts=st.none() | st.dictionaries(small, few, min_size=1, max_size=2),
        ago=delays,
    )
    def reject(self, which: int, reason: str, parts: dict[int, int] | None, ago: int) -> None:
        if not self.has_shipments:
            return
        order, shipment = self._shipment(which)
        units = _units_of(shipment, parts)
        request = fulfillment_pb.RejectShipmentRequest(
            shipment_id=shipment.shipment_id,
            reason=fulfillment_pb.RejectReason.Value(f"REJECT_REASON_{reason.upper()}"),
            lines=line_units(units),
            event_id=_event(),
            request_id=request_id(),
        )
        when = self._event_time(request, ago)
        is_allowed = self._is_sold(order) and shipment.state in OPEN
        units_by_line = {line.line_id: line.unit_count for line in shipment.lines if line.unit_count}
        rejected = units if units is not None else units_by_line
        fits = all(count <= units_by_line.get(line_id, 0) for line_id, count in rejected.items())
        answer = self._call(
            self.shop.fulfillment.RejectShipment,
            request,
            must_succeed=is_allowed and fits,
            must_fail=is_allowed and not fits,
        )
        if answer is not None and is_allowed:
            self.in_pieces.add(order)
            for line_id, count in rejected.items():
                key = (self.paper.orders[order].lines[line_id].sku, shipment.location_id)
                if reason == "not_found":
                    self.paper.record_movement(key, when, -count)
                elif reason in ("damaged", "set_aside"):
                    # Set aside when the service handles the rejection, which is after the request was made.
                    self.paper.set_aside(key, self.moments[-1] + timedelta(microseconds=1), count)
        self._check("reject")

    @rule(which=small, location_id=st.sampled_from(["", *LOCATIONS]))
    def reassign(self, which: int, location_id: str) -> None:
        if not self.has_shipments:
            return
        _, shipment = self._shipment(which)
        request = allocation_pb.ReassignShipmentRequest(
            shipment_id=shipment.shipment_id, location_id=location_id, actor="kim", request_id=request_id()
        )
        self._call(self.shop.allocations.ReassignShipment, request)
        self._check("reassign")

    @rule(
        order=orders,
        parts=st.dictionaries(small, few, min_size=1, max_size=2),
        location_id=location_ids,
        disposition=st.sampled_from(DISPOSITIONS),
        ago=delays,
    )
    def record_return(self, order: str, parts: dict[int, int], location_id: str, disposition: str, ago: int) -> None:
        order = self._existing_order(order)
        lines = self.paper.orders[order].lines
        units = {list(lines)[which % len(lines)]: count for which, count in parts.items()}
        request = fulfillment_pb.RecordReturnRequest(
            allocation_id=self.allocation_ids[order],
            lines=line_units(units),
            disposition=fulfillment_pb.ReturnDisposition.Value(f"RETURN_DISPOSITION_{disposition.upper()}"),
            location_id="" if disposition == "not_returned" else location_id,
            event_id=_event(),
            request_id=request_id(),
        )
        when = self._event_time(request, ago)
        is_refund = disposition == "not_returned"
        fits = all(
            count <= lines[x].shipped - lines[x].returned - is_refund * lines[x].refunded for x, count in units.items()
        )
        answer = self._call(self.shop.fulfillment.RecordReturn, request, must_succeed=fits, must_fail=not fits)
        for line_id, count in units.items() if answer is not None else ():
            line = lines[line_id]
            if is_refund:
                line.refunded += count
            else:
                line.returned += count
                line.refunded -= min(line.refunded, count)
                key = (line.sku, location_id)
                if disposition != "sellable" and not self.paper.count_includes(key, when):
                    self.paper.set_aside(key, when, count)
                self.paper.record_movement(key, when, count)
        self._check("record a return")

    # Repeated requests and events

    @rule(which=st.integers(0, 1_000))
    def replay_a_request(self, which: int) -> None:
        call, request, answer = self.calls[which % len(self.calls)]

        assert self.run(call(request)) == answer
        self._check("replay a request", changes=False)

    @rule(which=st.integers(0, 1_000))
    def replay_an_event(self, which: int) -> None:
        if not self.events:
            return
        call, request = self.events[which % len(self.events)]
        again = type(request)()
        again.CopyFrom(request)
        again.request_id = request_id()
        # An event that came too late to do anything may be refused by now.
        self._call(call, again)
        self._check("replay an event", changes=False)

    # Calls

    def _call(self, call: Any, request: Any, *, must_succeed: bool = False, must_fail: bool = False) -> Any:
        """The response; None if the call is refused, which changes nothing."""
        try:
            answer = self.run(call(request))
        except grpc.aio.AioRpcError as error:
            refusal = error
        else:
            assert not must_fail, answer
            self.calls.append((call, request, answer))
            if getattr(request, "event_id", ""):
                self.events.append((call, request))
            return answer
        assert refusal.code() in REFUSALS, f"{refusal.code()}: {refusal.details()}"
        assert not must_succeed, refusal.details()
        if not self._may_be_swept:
            after = self.run(self._take_snapshot())
            assert after.same_as(self.snapshot), (refusal.details(), after.differences(self.snapshot))
        return None

    def _existing_order(self, order: str) -> str:
        """The order, or an existing one in its place."""
        existing = sorted(self.snapshot.orders)
        return existing[ORDERS.index(order) % len(existing)]

    def _is_sold(self, order: str) -> bool:
        return self.snapshot.orders[order].commitment == SOLD

    def _shipment(self, which: int) -> tuple[str, shipment_pb2.Shipment]:
        """A shipment and its order; open shipments come first."""
        shipments = [
            (order, shipment) for order, allocation in self.snapshot.orders.items() for shipment in allocation.shipments
        ]
        shipments.sort(key=lambda pair: (pair[1].state not in OPEN, pair[0]))
        return shipments[which % len(shipments)]

    def _moment(self, ago: int) -> datetime:
        self.moments.append(datetime.now(UTC))
        return self.moments[max(0, len(self.moments) - 1 - ago)]

    def _event_time(self, request: Any, ago: int) -> datetime:
        """When an event happened: `ago` steps ago, or now, which is not stated in the request."""
        when = self._moment(ago)
        if ago and "event_time" in request.DESCRIPTOR.fields_by_name:
            request.event_time.FromDatetime(when)
            return when
        # The service dates it when it handles the request, which is after the request was made.
        return when + timedelta(microseconds=1)

    # Invariants

    def _check(self, step: str, *, changes: bool = True) -> None:
        before, self.snapshot = self.snapshot, self.run(self._take_snapshot())
        if self.has_unswept_hold and self._fillable_backorder():
            self.run(eventually(self._is_swept, 10))
            self.snapshot = self.run(self._take_snapshot())
        self._note_policy_cancellations()
        assert changes or self._may_be_swept or self.snapshot.same_as(before), step
        check_levels(self.snapshot, self.paper)
        check_lines(self.snapshot, self.paper)
        check_parcels(self.snapshot)
        check_causes(self.snapshot)
        check_outcomes(self.snapshot)
        for order, allocation in self.snapshot.orders.items():
            if order not in self.in_pieces:
                check_wholes(allocation, self.kit_skus[:1])
        check_commitments(before, self.snapshot)
        check_locations(self.snapshot, self.paper, self._may_use, self._reassigned_by_person())
        if step not in ("reassign", "undo shipping"):
            # A person may name a location, and a parcel that has not left has its units again, whatever the rules say.
            check_kept(before, self.snapshot, self.kept_percent)
        assert not self._fillable_backorder(), step
        if not self._may_be_swept:
            sold = [*self.skus, *self.kit_skus]
            request = availability_pb.CheckAvailabilityRequest(
                channel_id="web", skus=sold, item_ids=[_item_of(sku) for sku in sold], include_outlets=True
            )
            answer = self.run(self.shop.availability.CheckAvailability(request))
            products = len(self.skus)
            check_outlets(answer.availabilities[:products], self.homes, self.snapshot)
            for of_whole in answer.availabilities[products:]:
                assert sum(x.sellable_count for x in of_whole.outlets) == of_whole.sellable_count, of_whole
        report = self.run(self.shop.ledger())
        assert report.balanced, report.differences
        self.steps_passed[step] += 1

    def teardown(self) -> None:
        """Levels know how many movements of goods there were since a person counted them, and holds expire at once."""
        assert self.run(self.shop.sql(WRONG_MOVEMENT_COUNTS)) == []
        assert self.run(self.shop.sql(PARTLY_EXPIRED)) == []

    @property
    def _may_be_swept(self) -> bool:
        """Whether a sweep may change an order between steps.

        It releases an expired hold, and fills what a share of the stock leaves to an order after a shipment of it left.
        """
        return self.has_unswept_hold or bool(self.kept_percent)

    async def _is_swept(self) -> bool:
        expired_holds = "SELECT FROM allocation WHERE state = 'held' AND expire_time < clock_timestamp()"
        self.has_unswept_hold = bool(await self.shop.sql(expired_holds))
        return not self.has_unswept_hold

    def _note_policy_cancellations(self) -> None:
        """Copies the cancellations of policy to the model: of clearance products, and only if the rules cancel."""
        for order, allocation in self.snapshot.orders.items():
            for line in allocation.lines:
                paper = self.paper.orders[order].lines[line.line_id]
                # Kits are cancelled whole.
                may_cancel = paper.sku.endswith("clearance") or (paper.kit and paper.kit.sku == self.kit_skus[1])
                if self.resolves_by_policy and may_cancel and self._is_sold(order):
                    assert line.cancelled_count >= paper.cancelled, (
                        allocation,
                        self.paper.orders[order],
                        self.calls[-1],
                    )
                    paper.cancelled = line.cancelled_count

    def _reassigned_by_person(self) -> set[str]:
        """The shipments at locations that a person chose."""
        return {
            shipment.shipment_id
            for _, request, answer in self.calls
            if isinstance(request, allocation_pb.ReassignShipmentRequest) and request.location_id
            for shipment in answer.allocation.shipments
            if shipment.location_id == request.location_id
        }

    def _fillable_backorder(self) -> str:
        if self.kept_percent:
            # Available units are no sign that an order may use them.
            return ""
        rejections = [
            rejection for _, rejection in self.events if isinstance(rejection, fulfillment_pb.RejectShipmentRequest)
        ]
        return fillable_backorder(
            self.snapshot,
            self.paper,
            self._may_use,
            {rejection.shipment_id for rejection in rejections},
            self.kit_skus[:1],
            self.in_pieces,
        )

    def _may_use(self, way: FulfillmentChoice, location_id: str) -> bool:
        """Whether the rules let an order use a location. The buffered rules do not restrict countries."""
        if location_id == "shut" or (way.is_pickup and location_id != way.pickup_at):
            return False
        if way.outlet and location_id not in way.outlet_locations:
            return False
        if location_id == way.not_at or (way.only_at and location_id not in way.only_at):
            return False
        return not (self.resolves_by_policy and location_id == "b-store" and way.country not in (None, "US"))


def _item_of(sku: str) -> str:
    """The channel's id of the item that is units of a product or kit: a number that no float holds exactly."""
    return f"92233720368547{sku}"


def _line(line_id: str, sku: str, units: int, way: FulfillmentChoice) -> order_pb2.OrderLine:
    line = order_pb2.OrderLine(line_id=line_id, unit_count=units, keep_together="all" if way.is_together else "")
    if way.by_item:
        line.item_id = _item_of(sku)
    else:
        line.sku = sku
    if way.not_at:
        line.not_location_ids.append(way.not_at)
    line.only_location_ids.extend(way.only_at)
    return line


def _event() -> str:
    return f"e-{next(_event_numbers)}"


def _units_of(shipment: shipment_pb2.Shipment, parts: dict[int, int] | None) -> dict[str, int] | None:
    if parts is None or not shipment.lines:
        return None
    return {shipment.lines[which % len(shipment.lines)].line_id: count for which, count in parts.items()}


async def _answer(call: Any) -> Any:
    return await call
