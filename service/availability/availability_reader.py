"""Answers what a channel may sell, from live stock; calls that arrive during a read share the next read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from policies.decisions.availability.location_availability import LocationAvailability
from policies.decisions.availability.outlet_split import outlet_figures
from policies.decisions.availability.sellable import Availability, KitFigures
from policies.decisions.availability.tried_orders import TriedOrders
from policies.decisions.kits.kit_availability import kits_promised
from policies.domain.capacity import CapacityFigures
from policies.domain.listings import Listing
from policies.domain.model import Destination, Product, StockLevel, World
from policies.domain.outlets import Outlet
from policies.explanation import FiredRule
from policies.policy_set import PolicySet
from service import limits
from service.availability import channel_promises
from service.availability.item_answers import published_outlets, published_units, set_delivery_days, set_item
from service.availability.product_assessment import ProductProblem, assess_product, largest_pickup_order
from service.background import in_turns, let_others_run, pause_of_turn
from service.capacity import capacity_store
from service.catalog import catalog_store, listing_store
from service.catalog.catalog_store import Catalog, CatalogCache
from service.database.database import Connection, Database
from service.decisions import decision_messages
from service.decisions.located_destination import destination_point
from service.demand.shortfall_log import Shortfall
from service.errors import no_channel, no_location
from service.metrics import Metrics
from service.metrics.labels import AVAILABILITY
from service.observability.calls import Call, current_call, shared_work
from service.rpc import proto_values
from service.stock import levels, stock_age
from service.stock.publication_log import PublicationLog
from truestock.v1 import availability_service_pb2 as availability_pb

READ_SKUS = 2_000
"""SKUs of one statement; calls beyond that wait for the next read."""
SEVERAL_CALLS = 3
RETURN_SECONDS = 0.004
"""After a read that served several calls, the next one waits so long at most for their callers to return."""
QUIET_SECONDS = 0.002
"""It waits no longer once none has come for this time."""
ANSWER_TURNS = 2
"""Turns of the event loop in which the calls that a read served are answered."""
BUSY_SECONDS = 0.1
"""So long after a read its callers are no longer expected to return."""
LARGE_RETURN_SECONDS = 0.02
"""How long a read for large answers waits at most for the callers of the last one: it costs ten times as much."""


@dataclass(frozen=True, slots=True)
class AvailabilityRequest:
    """A checked CheckAvailability request. `listings` are those of its items, as far as they are mapped."""

    channel_id: str
    skus: tuple[str, ...]
    method: str
    destination: Destination | None
    include_locations: bool
    include_outlets: bool = False
    item_ids: tuple[str, ...] = ()
    listings: tuple[Listing, ...] = ()
    include_delivery_days: bool = False
    pickup_location_id: str | None = None

    @property
    def all_skus(self) -> Sequence[str]:
        """The SKUs that it names, and those of its items."""
        return self.skus if not self.listings else [*self.skus, *(listing.sku for listing in self.listings)]

    def entries(self) -> Iterator[tuple[str, Listing | None]]:
        """What is answered, in order: SKUs, and those of items with their listings."""
        yield from ((sku, None) for sku in self.skus)
        yield from ((listing.sku, listing) for listing in self.listings)

    def unknown_item_ids(self) -> list[str]:
        """The items that are not mapped."""
        mapped = {listing.item_id for listing in self.listings}
        return [item_id for item_id in self.item_ids if item_id not in mapped]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Stock and catalog of one read, with the answers given from it: many calls ask the same about a viral SKU."""

    now: datetime
    catalog: Catalog
    products: Mapping[str, Product]
    levels: Mapping[tuple[str, str], StockLevel]
    answers: dict[tuple[str, AvailabilityRequest], availability_pb.CheckAvailabilityResponse] = field(
        default_factory=dict
    )
    large_answers: dict[tuple[str, AvailabilityRequest], asyncio.Task[availability_pb.CheckAvailabilityResponse]] = (
        field(default_factory=dict)
    )
    """Answers that take turns with other work."""
    recorded: set[int] = field(default_factory=set)
    """The `id` of each answer that is in the publication log."""
    promised: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Units promised to the orders of one channel, if they were read for it, by (SKU, location id)."""
    capacity: CapacityFigures | None = None
    """What is taken of the capacity of locations; None if no location limits it."""


@dataclass(slots=True, eq=False)
class _WaitingCall:
    skus: Sequence[str]
    snapshot: asyncio.Future[Snapshot]
    served_call: Call | None = field(default_factory=current_call.get)
    asked: float = field(default_factory=time.perf_counter)


class AvailabilityReader:
    """Reads current stock, in one round trip for all calls that arrived during the previous read.

    A read costs as much as several calls. So while calls come many at a time, a read waits a moment for those whose
    callers have just been answered; a lone caller never waits. If it `waits_for_answers`, it also waits for the large
    answers from the last read: they are worked out in turns, and with reads in between, callers who came together
    would come back one by one, and share no more reads.
    """

    def __init__(
        self,
        database: Database,
        cache: CatalogCache,
        metrics: Metrics,
        policies: Callable[[], PolicySet],
        *,
        waits_for_answers: bool = False,
    ) -> None:
        self._database = database
        self._cache = cache
        self._metrics = metrics
        self._policies = policies
        self._waits_for_answers = waits_for_answers
        self._waiting: list[_WaitingCall] = []
        self._reading: asyncio.Task[None] | None = None
        self._served = 0
        self._expected = 0
        """Calls that the last read served, and how many will wait for the next one if all these callers call again."""
        self._last_read_time = 0.0
        self._returned = asyncio.Event()

    def is_large(self, skus: Sequence[str]) -> bool:
        """Whether an answer about these SKUs is worked out in turns with everything else."""
        return _is_large(skus, self._cache.location_count)

    async def listings(self, channel_id: str, item_ids: Sequence[str]) -> tuple[Listing, ...]:
        """The listings of those of a channel's items that have one, in the order of the items."""
        keys = [(channel_id, item_id) for item_id in item_ids]
        found = await self._database.unlocked("availability", lambda connection: listing_store.read(connection, keys))
        return tuple(found[key] for key in keys if key in found)

    async def read(self, skus: Sequence[str]) -> Snapshot:
        """Reads the stock of at least these SKUs, as of a time after this call."""
        waiting = _WaitingCall(skus, asyncio.get_running_loop().create_future())
        # A call never joins a read that has already started: that snapshot could be older than a write which the
        # caller has just completed. It waits for the next read, which all waiting calls share.
        self._waiting.append(waiting)
        if len(self._waiting) >= self._expected:
            self._returned.set()
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_all())
        return await waiting.snapshot

    async def read_with_promises(self, skus: Sequence[str], channel_id: str) -> Snapshot:
        """Reads the stock of these SKUs and the units promised to a channel's orders, for one call alone."""

        async def read(connection: Connection) -> Snapshot:
            snapshot = await self._read(connection, set(skus))
            read_skus = [*skus, *snapshot.catalog.kits.components_of(skus).difference(skus)]
            promised = await channel_promises.read(connection, channel_id, read_skus, snapshot.now)
            return replace(snapshot, promised=promised)

        # Between two statements without a common snapshot an order could take units of a level, and would then be an
        # order of another channel.
        return await self._database.snapshot("availability", read)

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                await self._wait_for_callers()
                self._served = await self._read_next()
                self._expected = self._served + len(self._waiting)
                self._last_read_time = asyncio.get_running_loop().time()
        finally:
            self._reading = None

    async def _wait_for_callers(self) -> None:
        """Returns once the callers of the last read are back or no more come; at once if it served few, or long ago."""
        loop = asyncio.get_running_loop()
        if self._served < SEVERAL_CALLS or loop.time() - self._last_read_time > BUSY_SECONDS:
            return
        # Answers take longer than callers need to return. A clock that ran meanwhile would end before the first of them
        # is back, and reads would stay as small as the first one happened to be.
        for _ in range(ANSWER_TURNS):
            await asyncio.sleep(0)
        longest, quiet = (
            (LARGE_RETURN_SECONDS, LARGE_RETURN_SECONDS) if self._waits_for_answers else (RETURN_SECONDS, QUIET_SECONDS)
        )
        end = loop.time() + longest
        while (count := len(self._waiting)) < self._expected and loop.time() < end:
            self._returned.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(quiet, end - loop.time())):
                    await self._returned.wait()
            if len(self._waiting) == count:
                return

    async def _wait_for_answers(self, snapshot: Snapshot) -> None:
        # Callers that wait for the snapshot run before this goes on, and begin their answers.
        await asyncio.sleep(0)
        if snapshot.large_answers:
            await asyncio.wait(snapshot.large_answers.values())

    async def _read_next(self) -> int:
        """The number of calls that the read served."""
        batch, skus = self._next_batch()
        if not batch:
            return 0
        self._metrics.service.read_calls.observe(len(batch))
        try:
            with shared_work("availability", [(call.served_call, call.asked) for call in batch]):
                snapshot = await self._database.unlocked(
                    "availability", lambda connection: self._read(connection, skus)
                )
        except Exception as error:
            for call in batch:
                if not call.snapshot.done():
                    call.snapshot.set_exception(error)
            return len(batch)
        for call in batch:
            if not call.snapshot.done():
                call.snapshot.set_result(snapshot)
        times = [level.as_of_time for level in snapshot.levels.values() if level.on_hand > 0]
        self._metrics.stock.observe_age(AVAILABILITY, snapshot.now, times)
        if self._waits_for_answers:
            await self._wait_for_answers(snapshot)
        return len(batch)

    def _next_batch(self) -> tuple[list[_WaitingCall], set[str]]:
        batch: list[_WaitingCall] = []
        skus: set[str] = set()
        while self._waiting and (not batch or len(skus) < READ_SKUS):
            call = self._waiting.pop(0)
            if not call.snapshot.done():
                # Else its caller has given up.
                batch.append(call)
                skus.update(call.skus)
        return batch, skus

    async def _read(self, connection: Connection, skus: set[str]) -> Snapshot:
        version, products = await catalog_store.products(connection, skus)
        catalog = await self._cache.at(connection, version)
        components = catalog.kits.components_of(skus) - skus
        if components:
            products |= (await catalog_store.products(connection, components))[1]
            skus |= components
        policy_set = self._policies()
        products = await self._cache.readiness.added(connection, policy_set, version, products)
        now, read_levels = await levels.read(connection, skus, len(catalog.locations))
        stock_levels = await stock_age.with_receipts(connection, read_levels, policy_set, products)
        capacity = await capacity_store.current_figures(connection, catalog, now)
        return Snapshot(now, catalog, products, stock_levels, capacity=capacity)


def _is_large(skus: Sequence[str], location_count: int) -> bool:
    return len(skus) * location_count > limits.LEVELS_AT_ONCE


def shortfalls(answer: availability_pb.CheckAvailabilityResponse, wanted: Mapping[str, int]) -> Iterator[Shortfall]:
    """The SKUs of which a channel may sell less than is wanted, in units; those without a figure are left out.

    `wanted` is by SKU or item.
    """
    for found in answer.availabilities:
        count = wanted.get(found.item_id or found.sku, 0)
        if count > found.sellable_count and not found.problem:
            units = found.units_per_item or 1
            yield Shortfall(found.sku, count * units, found.sellable_count * units, found.available_count)


async def answer(
    policy_set: PolicySet, snapshot: Snapshot, request: AvailabilityRequest
) -> availability_pb.CheckAvailabilityResponse:
    """The answer by these rules. SKUs that are not in the catalog are listed; raises NotFound for such a channel.

    A large one is worked out in turns with everything else.
    """
    key = (policy_set.revision, request)
    response = snapshot.answers.get(key)
    if response is not None:
        return response
    if not _is_large(request.all_skus, len(snapshot.catalog.locations)):
        started = time.perf_counter()
        response = snapshot.answers[key] = _assess(policy_set, snapshot, request)
        if (call := current_call.get()) is not None:
            ended = time.perf_counter()
            call.decided(ended - started, in_transaction=False)
            if call.trace is not None:
                call.trace.add("decision", started, ended, {"truestock.policy_revision": policy_set.revision})
        return response
    work = snapshot.large_answers.get(key)
    if work is None:
        work = asyncio.create_task(in_turns(_assess, policy_set, snapshot, request))
        snapshot.large_answers[key] = work
    # A caller that hangs up does not keep the others from their answer.
    return await asyncio.shield(work)


def record(
    log: PublicationLog, snapshot: Snapshot, channel_id: str, response: availability_pb.CheckAvailabilityResponse
) -> None:
    """Adds an answer that is sent to a channel to the publication log, once for each stock read."""
    if id(response) not in snapshot.recorded:
        snapshot.recorded.add(id(response))
        figures = published_units(response), snapshot.now, response.policy_revision, published_outlets(response)
        log.record(channel_id, *figures)


def _assess(
    policy_set: PolicySet, snapshot: Snapshot, request: AvailabilityRequest
) -> availability_pb.CheckAvailabilityResponse:
    channel = snapshot.catalog.channels.get(request.channel_id)
    if channel is None:
        raise no_channel({"channel_id": request.channel_id}, snapshot.catalog.channels)
    catalog = snapshot.catalog
    if request.pickup_location_id and request.pickup_location_id not in catalog.locations:
        raise no_location({"pickup_location_id": request.pickup_location_id}, catalog.locations)
    world = World(
        *(snapshot.now, catalog.locations, snapshot.products, snapshot.levels, pause_of_turn()),
        capacity=snapshot.capacity,
    )
    availabilities = []
    outlets = catalog.outlets.get(channel.id, ())
    for sku, listing in request.entries():
        if sku in snapshot.products:
            availability = assess_product(
                policy_set,
                world,
                channel,
                sku,
                method=request.method,
                destination=request.destination,
                kit=catalog.kits.by_sku.get(sku),
                by_day=request.include_delivery_days,
            )
            message = _message(availability, world, include_locations=request.include_locations)
            if request.include_outlets:
                _add_outlets(message, availability, outlets, snapshot)
            if listing is not None:
                set_item(message, availability, listing, outlets)
            if request.pickup_location_id and isinstance(availability, Availability):
                message.largest_single_order_count = largest_pickup_order(
                    TriedOrders(
                        *(policy_set, world, channel, sku, catalog.kits.by_sku.get(sku)),
                        *(request.method, request.destination, request.pickup_location_id),
                        units_each=1 if listing is None else listing.unit_count,
                    )
                )
            availabilities.append(message)
            let_others_run()
    return availability_pb.CheckAvailabilityResponse(
        availabilities=availabilities,
        policy_revision=policy_set.revision,
        stock_read_time=proto_values.timestamp(snapshot.now),
        unknown_skus=[sku for sku in request.skus if sku not in snapshot.products],
        unknown_item_ids=request.unknown_item_ids(),
        destination_point=destination_point(request.destination),
    )


def _message(
    availability: Availability | ProductProblem, world: World, *, include_locations: bool
) -> availability_pb.Availability:
    if isinstance(availability, ProductProblem):
        return availability_pb.Availability(sku=availability.sku, problem=availability.description)
    message = availability_pb.Availability(
        sku=availability.sku,
        sellable_count=availability.sellable,
        available_count=availability.total_available,
        largest_single_order_count=availability.largest_single_order,
        channel_buffer_count=availability.held_back_by_channel,
        unpublished_count=availability.unpublished,
    )
    set_delivery_days(message, availability)
    kit = availability.kit
    if kit is not None:
        message.components.extend(_component(kit, sku) for sku in kit.kit.components)
        message.split_kit_count = kit.split_count
    if include_locations:
        message.locations.extend(_location(figure, world, kit) for figure in availability.locations)
        message.fired_rules.extend(decision_messages.fired_rule(fired) for fired in availability.fired)
    return message


def _add_outlets(
    message: availability_pb.Availability,
    availability: Availability | ProductProblem,
    outlets: Sequence[Outlet],
    snapshot: Snapshot,
) -> None:
    """Adds the figures of the outlets, and what the units are that are not sellable."""
    if isinstance(availability, ProductProblem):
        message.outlets.extend(availability_pb.OutletAvailability(outlet_id=outlet.id) for outlet in outlets)
        return
    levels_of, promised, kit = snapshot.levels, snapshot.promised, availability.kit
    if kit is not None:
        promised = kits_promised(kit.kit, snapshot.levels, snapshot.promised, kit.levels)
        levels_of = {(kit.kit.sku, location_id): level for location_id, level in kit.levels.items()}
    for figure in outlet_figures(availability, outlets, levels_of, promised):
        message.kept_by_rules_count += figure.kept_by_rules
        message.promised_to_channel_count += figure.promised_here
        message.promised_elsewhere_count += figure.promised_elsewhere
        message.unavailable_count += figure.unavailable
        if outlets:
            message.outlets.add(
                outlet_id=figure.outlet_id,
                sellable_count=figure.sellable,
                kept_by_rules_count=figure.kept_by_rules,
                promised_to_channel_count=figure.promised_here,
                promised_elsewhere_count=figure.promised_elsewhere,
                unavailable_count=figure.unavailable,
                on_hand_count=figure.on_hand,
            )


def _component(kit: KitFigures, sku: str) -> availability_pb.KitComponentAvailability:
    return availability_pb.KitComponentAvailability(
        sku=sku, units_per_kit=kit.kit.components[sku], sellable_count=kit.components[sku]
    )


def _location(
    figure: LocationAvailability, world: World, kit: KitFigures | None
) -> availability_pb.LocationAvailability:
    if kit is not None:
        return _kit_location(figure, kit.levels[figure.location_id])
    level = world.levels[figure.sku, figure.location_id]
    return availability_pb.LocationAvailability(
        location_id=figure.location_id,
        on_hand_count=level.on_hand,
        unavailable_count=level.unavailable,
        held_count=level.held,
        allocated_count=level.allocated,
        available_count=figure.available,
        buffer_count=figure.held_back,
        sellable_count=figure.sellable,
        reasons=_reasons(figure),
        as_of_time=proto_values.timestamp(level.as_of_time),
    )


def _kit_location(figure: LocationAvailability, level: StockLevel) -> availability_pb.LocationAvailability:
    """Kits at one location; whether a component is held or allocated is in its own figures."""
    return availability_pb.LocationAvailability(
        location_id=figure.location_id,
        on_hand_count=level.on_hand,
        unavailable_count=level.unavailable,
        allocated_count=level.allocated,
        available_count=figure.available,
        buffer_count=figure.held_back,
        sellable_count=figure.sellable,
        reasons=_reasons(figure),
        as_of_time=proto_values.timestamp(level.as_of_time),
    )


def _reasons(figure: LocationAvailability) -> list[str]:
    reasons = [_block_reason(fired) for fired in figure.blocked_by]
    if figure.not_used_by is not None:
        rule = f" by {figure.not_used_by.rule}" if figure.not_used_by.rule else ""
        reasons.append(f"{figure.not_used_by.reason}{rule}")
    return reasons


def _block_reason(fired: FiredRule) -> str:
    """The effect of a block, with the confidence that it compared: no other field of the answer shows that figure."""
    facts = dict(fired.evidence.facts()) if fired.evidence else {}
    confidence = facts.get("stock.count_confidence")
    return fired.effect if confidence is None else f"{fired.effect} (stock.count_confidence is {confidence})"
