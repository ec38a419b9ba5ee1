"""A day of a small retailer, played against a running service, and the truth of it: what every counter has to say.

Each step states by hand what it adds. Hours do not pass: a step that needs them moves times in the database back.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import grpc

from service.rpc.proto_values import timestamp
from tests.retailer import HOLD, Retailer, eventually, order_request, refused
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    channel_figure_pb2 as figure_pb,
    exception_pb2,
    order_pb2,
    stock_service_pb2 as stock_pb,
)

WEB, TIKTOK = CHANNELS = ("web", "tiktok_shop")
HEADROOM = 0.8
"""What the web shop states of its headroom."""
DC, SOHO, HUB = LOCATIONS = ("dc", "soho", "hub")
DC_SKUS = ("MUG", "LAMP")
"""What the warehouse has; soho has cups, and the hub what is oversold."""
COUNTED = {
    "sold_units": ("channel",),
    "sold_orders": ("channel",),
    "oversold_units": ("channel", "cause"),
    "oversold_orders": ("channel", "cause"),
    "withheld_units": ("channel", "cause"),
    "withheld_orders": ("channel", "cause"),
    "cancelled_units": ("channel", "fault"),
    "cancelled_orders": ("channel", "fault"),
    "exceptions": ("kind", "channel"),
    "owner_exceptions": ("kind", "owner"),
    "exceptions_resolved": ("kind", "resolution"),
    "exceptions_escalated": ("owner",),
    "manual_interventions": ("channel", "reason"),
    "expired_holds": ("channel",),
    "inventory_comparisons": ("source", "location"),
    "inventory_mismatches": ("source", "location"),
    "inventory_mismatch_units": ("source", "location"),
    "channel_comparisons": ("channel",),
    "channel_mismatches": ("channel",),
    "channel_mismatch_units": ("channel",),
    "shipments_due": ("location", "deadline", "result"),
    "channel_shipments_due": ("channel", "deadline", "result"),
}
"""The counters that a day's truth states completely, what it does not name being 0; each by these labels."""

ROUTING = """\
kind: routing
policies:
  - name: ship
    position: 100
    rank: [fewest_shipments]
    review:
      - {name: urgent, when: {order.tags: {contains: urgent}}}
"""
KEPT_UNITS = 2
BUFFER = f"""\
kind: buffer
name: keep
scope: location
rules:
  - {{name: on-the-floor, when: {{product.sku: FLOOR}}, hold_back: {{units: {KEPT_UNITS}}}}}
"""
OWNERS = """\
kind: exception
rules:
  - {name: oversell, position: 10, when: {exception.kind: oversell}, do: review, owner: desk, due_in: 2h,
     escalate_to: lead}
  - {name: rejected, position: 20, when: {exception.kind: rejected}, do: reroute, owner: stores, due_in: 4h}
  - {name: rest, position: 100, do: review, owner: operations, due_in: 1d}
"""
OWNER_BY_KIND = {"oversell": "desk", "rejected": "stores"}
"""As OWNERS says; operations own the rest."""

Labels = frozenset[tuple[str, str]]
Allocation = allocation_pb.Allocation
Fault = order_pb2.CancellationFault


def write_day_rules(folder: Path) -> Path:
    """A rules folder in which a person reviews every exception, but for rejections, which are rerouted."""
    rules = folder / "rules"
    rules.mkdir()
    (rules / "routing.yaml").write_text(ROUTING)
    (rules / "owners.yaml").write_text(OWNERS)
    (rules / "buffer.yaml").write_text(BUFFER)
    return rules


class DayTruth:
    """What counters have to say, by name and labels."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[Labels]] = {name: Counter() for name in COUNTED}

    def add(self, name: str, number: int = 1, **labels: str) -> None:
        assert labels.keys() == set(COUNTED[name]), name
        self._counts[name][frozenset(labels.items())] += number

    def counts(self, name: str) -> dict[Labels, int]:
        """All values above 0 of a counter, by labels."""
        return dict(self._counts[name])

    def total(self, name: str, **labels: str) -> int:
        """A counter with these labels, added up over its other labels."""
        return sum(count for key, count in self._counts[name].items() if labels.items() <= dict(key).items())

    def sums(self, name: str, by: str, **labels: str) -> dict[str, int]:
        """A counter with these labels by the values of another label, without those of 0."""
        values = {dict(key)[by] for key in self._counts[name] if labels.items() <= dict(key).items()}
        return {value: self.total(name, **{**labels, by: value}) for value in values}

    def rate(self, part: tuple[str, dict[str, str]], whole: tuple[str, dict[str, str]]) -> Fraction | None:
        """One total of another, each a name and labels; None if there is nothing to divide by."""
        total = self.total(whole[0], **whole[1])
        return Fraction(self.total(part[0], **part[1]), total) if total else None


@dataclass(slots=True)
class ScriptedDay:
    """The day; `play` may be called once."""

    shop: Retailer
    truth: DayTruth = field(default_factory=DayTruth)
    order_number: int = 0

    async def open(self) -> None:
        """Creates channels, locations, products, feeds and stock; nothing has happened yet."""
        await self.shop.set_up()
        await self.shop.channels(tiktok_shop="")
        web = catalog_pb.Channel(channel_id=WEB, kind=catalog_pb.Channel.KIND_WEB, cancellation_headroom=HEADROOM)
        await self.shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[web]))
        feeds = [
            catalog_pb.Feed(source="counter", role=catalog_pb.Feed.ROLE_OWNER),
            catalog_pb.Feed(source="audit", role=catalog_pb.Feed.ROLE_OBSERVER),
        ]
        await self.shop.locations(*LOCATIONS)
        await self.shop.catalog.UpsertFeeds(catalog_pb.UpsertFeedsRequest(feeds=feeds))
        hub = ("RACE", "APPLY", "OVER", "OLD", "COUNT", "SHELF", "TOLD", "FLOOR")
        await self.shop.stock(
            {(sku, DC): 500 for sku in DC_SKUS} | {("CUP", SOHO): 200} | {(sku, HUB): 10 for sku in hub}
        )

    async def play(self) -> None:
        """Everything that happens, in order."""
        await self.sell()
        await self.hold_carts()
        await self.oversell_by_each_cause()
        await self.withhold()
        await self.cancel_by_each_fault()
        await self.review_an_urgent_order()
        await self.compare_counts()
        await self.compare_what_a_channel_shows()
        await self.ship()
        await self.ask_for_an_order_that_is_not_there()

    async def sell(self) -> None:
        """Both channels sell from two locations; nothing is wrong with these orders."""
        await asyncio.gather(*(self._order(WEB, {"MUG": 2}) for _ in range(40)))
        await asyncio.gather(*(self._order(TIKTOK, {"CUP": 1}) for _ in range(25)))
        await asyncio.gather(*(self._order(TIKTOK, {"MUG": 1, "LAMP": 3}) for _ in range(5)))

    async def hold_carts(self) -> None:
        """Of five carts two are paid, one is released and two expire."""
        first, second, third, *abandoned = [await self._hold(WEB, {"LAMP": 2}) for _ in range(5)]
        for cart in (first, second):
            await self.shop.confirm(cart.allocation_id)
            self._sold(WEB, 2)
        await self.shop.release(third.allocation_id)
        for table, column in (("promise", "allocation_id"), ("allocation", "id")):
            await self.shop.sql(
                f"UPDATE {table} SET expire_time = clock_timestamp() WHERE {column} = ANY($1::uuid[])",
                [cart.allocation_id for cart in abandoned],
            )
        self.truth.add("expired_holds", len(abandoned), channel=WEB)

    async def oversell_by_each_cause(self) -> None:
        """Each product of the hub is oversold for another reason, and one order is of a product that nobody knows."""
        await self.shop.sellable("RACE", WEB)
        await self._order(TIKTOK, {"RACE": 8})
        await self._oversell(WEB, "RACE", 5, short=3, cause="race")

        await self.shop.sellable("APPLY", TIKTOK)
        await self._oversell(TIKTOK, "APPLY", 14, short=4, cause="not_applied")

        await self.shop.sellable("OVER", WEB)
        await self.shop.count({("OVER", HUB): 4})
        await self._oversell(WEB, "OVER", 6, short=2, cause="over_published")

        await self.shop.sql("UPDATE stock_level SET as_of_time = as_of_time - interval '25 hours' WHERE sku = 'OLD'")
        await self.shop.sellable("OLD", TIKTOK)
        await self._oversell(TIKTOK, "OLD", 11, short=1, cause="stale_feed")

        await self._oversell(WEB, "TOLD", 12, short=2, cause="not_told")

        promised = await self._order(TIKTOK, {"COUNT": 9})
        await self.shop.count({("COUNT", HUB): 7})
        self._short(TIKTOK, 2, "count_correction")
        self._needs_person(TIKTOK, "oversell")
        assert (await self.shop.get(promised.allocation_id)).allocation.shortages[0].unit_count == 2

        promised = await self._order(WEB, {"SHELF": 10})
        await self.shop.reject(promised.shipments[0], "not_found", {"1": 1})
        self._raised("rejected", WEB)
        # No other location has the unit: nothing to do about the rejection, and a person handles the oversell.
        self.truth.add("exceptions_resolved", kind="rejected", resolution="no_action")
        self._short(WEB, 1, "rejected")
        self._needs_person(WEB, "oversell")

        # The exception is the product's: once it is in the catalog, the order goes on without anybody.
        await self._order(TIKTOK, {"NEW": 2})
        self._oversold(TIKTOK, 2, "unmapped")
        self._raised("unmapped_product", TIKTOK)

    async def withhold(self) -> None:
        """A sold order wants all units of a product of which a buffer keeps some."""
        await self._order(TIKTOK, {"FLOOR": 10})
        self.truth.add("withheld_units", KEPT_UNITS, channel=TIKTOK, cause="held_by_buffer")
        self.truth.add("withheld_orders", channel=TIKTOK, cause="held_by_buffer")
        self._raised("held_by_buffer", TIKTOK)
        self._needs_person(TIKTOK, "held_by_buffer")

    async def cancel_by_each_fault(self) -> None:
        """Orders are cancelled in whole and in part, by everybody who can be at fault; one in two steps."""
        for channel, units, name in (
            (WEB, 3, "BUYER"),
            (WEB, 1, "SELLER"),
            (TIKTOK, 2, "SELLER"),
            (TIKTOK, 3, "CARRIER"),
            (WEB, 2, "FRAUD"),
        ):
            order = await self._order(channel, {"MUG": 3})
            fault = Fault.Value(f"CANCELLATION_FAULT_{name}")
            await self.shop.cancel(order.allocation_id, {"1": units}, fault=fault)
            self._cancelled(channel, units, name.lower())
        order = await self._order(WEB, {"MUG": 4})
        await self.shop.cancel(order.allocation_id, {"1": 1})
        await self.shop.cancel(order.allocation_id, {"1": 2}, fault=Fault.Value("CANCELLATION_FAULT_BUYER"))
        self._cancelled(WEB, 1, "unknown")
        self.truth.add("cancelled_units", 2, channel=WEB, fault="buyer")

    async def review_an_urgent_order(self) -> None:
        """A person approves an order that a rule wants reviewed."""
        order = await self._order(WEB, {"MUG": 1}, tags=["urgent"])
        self._raised("review", WEB)
        self._needs_person(WEB, "review")
        (raised,) = (await self.shop.get(order.allocation_id)).exceptions
        await self.shop.resolve(raised.exception_id, exception_pb2.EXCEPTION_RESOLUTION_APPROVED)
        self.truth.add("exceptions_resolved", kind="review", resolution="approved")

    async def compare_counts(self) -> None:
        """An audit compares eight stock levels, two of which differ, until one of these is counted again."""
        figures: Mapping[tuple[str, str], int] = {
            (level.sku, level.location_id): level.on_hand_count for level in await self._levels()
        }
        audited = {key: figures[key] for key in sorted(figures) if key[0] in {*DC_SKUS, "CUP", "RACE", "TOLD"}}
        wrong = {("CUP", SOHO): 3, ("MUG", DC): -4}
        for key, units in audited.items():
            await self.shop.count({key: units + wrong.get(key, 0)}, at=datetime.now(UTC), source="audit")
            self.truth.add("inventory_comparisons", source="audit", location=key[1])
            if key in wrong:
                self.truth.add("inventory_mismatches", source="audit", location=key[1])
                self.truth.add("inventory_mismatch_units", abs(wrong[key]), source="audit", location=key[1])
                self._raised("mismatch", "none")
        await self.shop.count({("CUP", SOHO): audited["CUP", SOHO]}, at=datetime.now(UTC), source="audit")
        self.truth.add("inventory_comparisons", source="audit", location=SOHO)
        self.truth.add("exceptions_resolved", kind="mismatch", resolution="stock_corrected")

    async def compare_what_a_channel_shows(self) -> None:
        """The web shop shows three units too many, then what was published to it."""
        published = await self.shop.sellable("LAMP", WEB)
        for shown in (published + 3, published):
            figure = figure_pb.ChannelFigure(sku="LAMP", shown_count=shown, observe_time=timestamp(datetime.now(UTC)))
            request = figure_pb.RecordChannelFiguresRequest(channel_id=WEB, figures=[figure])
            await self.shop.availability.RecordChannelFigures(request)
            self.truth.add("channel_comparisons", channel=WEB)
        self.truth.add("channel_mismatches", channel=WEB)
        self.truth.add("channel_mismatch_units", 3, channel=WEB)
        self._raised("mismatch", WEB)
        self.truth.add("exceptions_resolved", kind="mismatch", resolution="stock_corrected")

    async def ship(self) -> None:
        """Shipments leave in time and late, and one never does; what is open too long becomes overdue."""
        later = datetime.now(UTC) + timedelta(hours=6)
        punctual = [await self._order(WEB, {"MUG": 1}, ship_by_time=later) for _ in range(6)]
        punctual += [await self._order(TIKTOK, {"CUP": 1}, ship_by_time=later) for _ in range(3)]
        for order in punctual:
            (shipment,) = order.shipments
            await self.shop.accept(shipment)
            await self.shop.ship(shipment)
            self._due(order, "in_time")
        late = [await self._order(WEB, {"CUP": 1}, ship_by_time=later) for _ in range(2)]
        never = await self._order(TIKTOK, {"MUG": 1}, ship_by_time=later)
        await self._let_hours_pass([*late, never])
        for order in late:
            (shipment,) = order.shipments
            await self.shop.ship(shipment)
            self.truth.add("exceptions_resolved", kind="late_shipment", resolution="completed")
        await eventually(self._are_resolved(late))

    async def ask_for_an_order_that_is_not_there(self) -> None:
        """A caller makes a mistake, and is told so."""
        error = await refused(self.shop.find_order("web/unknown"))
        assert error.code() is grpc.StatusCode.NOT_FOUND

    async def _let_hours_pass(self, orders: list[Allocation]) -> None:
        """These orders' times to ship by have passed, and the oldest oversell is overdue."""
        ids = [order.allocation_id for order in orders]
        for table, column in (("allocation", "id"), ("shipment", "allocation_id")):
            await self.shop.sql(
                f"UPDATE {table} SET ship_by_time = now() - interval '1 min' WHERE {column} = ANY($1::uuid[])", ids
            )
        overdue = "SELECT id FROM exception WHERE kind = 'oversell' ORDER BY create_time LIMIT 1"
        await self.shop.sql(f"UPDATE exception SET due_time = now() - interval '1 s' WHERE id = ({overdue})")
        for order in orders:
            self._due(order, "late")
            self._raised("late_shipment", order.channel_id)
            self._needs_person(order.channel_id, "late_shipment")
        self.truth.add("exceptions_escalated", owner="lead")

        async def are_noticed() -> bool:
            found = await self.shop.open_exceptions(kinds=["late_shipment"])
            escalated = await self.shop.sql("SELECT FROM exception WHERE escalate_time IS NOT NULL")
            return len(found) == len(orders) and bool(escalated)

        await eventually(are_noticed)

    def _are_resolved(self, orders: list[Allocation]) -> Any:
        ids = {order.allocation_id for order in orders}

        async def are_resolved() -> bool:
            found = await self.shop.open_exceptions(kinds=["late_shipment"])
            return not ids & {exception.allocation_id for exception in found}

        return are_resolved

    def _due(self, order: Allocation, result: str) -> None:
        """The shipment of an order kept its time to ship by, or missed it, whether or not it ships at last."""
        (shipment,) = order.shipments
        self.truth.add("shipments_due", location=shipment.location_id, deadline="ship_by", result=result)
        self.truth.add("channel_shipments_due", channel=order.channel_id, deadline="ship_by", result=result)

    async def _order(self, channel: str, lines: Mapping[str, int], **fields: Any) -> Allocation:
        order = await self._allocate(channel, lines, **fields)
        self._sold(channel, sum(lines.values()))
        return order

    async def _hold(self, channel: str, lines: Mapping[str, int]) -> Allocation:
        return await self._allocate(channel, lines, commitment=HOLD)

    async def _allocate(self, channel: str, lines: Mapping[str, int], **fields: Any) -> Allocation:
        self.order_number += 1
        request = order_request(f"A-{self.order_number}", lines, channel_id=channel, **fields)
        allocation: Allocation = (await self.shop.allocations.AllocateOrder(request)).allocation
        return allocation

    async def _oversell(self, channel: str, sku: str, units: int, *, short: int, cause: str) -> None:
        await self._order(channel, {sku: units})
        self._short(channel, short, cause)
        self._needs_person(channel, "oversell")

    async def _levels(self) -> Any:
        request = stock_pb.ListStockLevelsRequest(location_ids=LOCATIONS, page_size=100)
        return (await self.shop.stock_service.ListStockLevels(request)).stock_levels

    def _sold(self, channel: str, units: int) -> None:
        self.truth.add("sold_orders", channel=channel)
        self.truth.add("sold_units", units, channel=channel)

    def _short(self, channel: str, units: int, cause: str) -> None:
        self._oversold(channel, units, cause)
        self._raised("oversell", channel)

    def _oversold(self, channel: str, units: int, cause: str) -> None:
        self.truth.add("oversold_orders", channel=channel, cause=cause)
        self.truth.add("oversold_units", units, channel=channel, cause=cause)

    def _cancelled(self, channel: str, units: int, fault: str) -> None:
        self.truth.add("cancelled_orders", channel=channel, fault=fault)
        self.truth.add("cancelled_units", units, channel=channel, fault=fault)

    def _raised(self, kind: str, channel: str) -> None:
        self.truth.add("exceptions", kind=kind, channel=channel)
        self.truth.add("owner_exceptions", kind=kind, owner=OWNER_BY_KIND.get(kind, "operations"))

    def _needs_person(self, channel: str, reason: str) -> None:
        self.truth.add("manual_interventions", channel=channel, reason=reason)
