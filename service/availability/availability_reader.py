"""What a channel may be told, from live stock: whatever was asked while the last read was in flight is one read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from policies.decisions.sellable import Availability, LocationAvailability, assess_availability
from policies.domain.model import Destination, Product, StockLevel, World
from policies.policy_set import PolicySet
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog, CatalogCache
from service.database.database import Connection, Database
from service.decisions import decision_messages
from service.errors import ADD_PRODUCT_FIRST, NotFound
from service.metrics import Metrics
from service.rpc import proto_values
from service.stock import levels
from truestock.v1 import availability_service_pb2 as availability_pb

READ_SKUS = 2_000
"""SKUs of one statement; what is asked beyond it waits for the next."""


@dataclass(frozen=True, slots=True)
class AvailabilityRequest:
    """One CheckAvailability request that is well-formed."""

    channel_id: str
    skus: tuple[str, ...]
    method: str
    destination: Destination | None
    include_locations: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Stock and catalogue as one read saw them, with what was answered from it: many ask the same of a viral SKU."""

    now: datetime
    catalog: Catalog
    products: Mapping[str, Product]
    levels: Mapping[tuple[str, str], StockLevel]
    answers: dict[tuple[str, AvailabilityRequest], availability_pb.CheckAvailabilityResponse] = field(
        default_factory=dict
    )


@dataclass(slots=True, eq=False)
class _Waiting:
    skus: Sequence[str]
    snapshot: asyncio.Future[Snapshot]


class AvailabilityReader:
    """Reads stock for whoever asks: always fresh, and one round trip for all who asked meanwhile."""

    def __init__(self, database: Database, cache: CatalogCache, metrics: Metrics) -> None:
        self._database = database
        self._cache = cache
        self._metrics = metrics
        self._waiting: list[_Waiting] = []
        self._reading: asyncio.Task[None] | None = None

    async def read(self, skus: Sequence[str]) -> Snapshot:
        """Stock as it is after this call was made, of at least these SKUs."""
        waiting = _Waiting(skus, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_all())
        return await waiting.snapshot

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                await self._read_next()
        finally:
            self._reading = None

    async def _read_next(self) -> None:
        batch, skus = self._next_batch()
        self._metrics.read_calls.observe(len(batch))
        try:
            snapshot = await self._database.unlocked("availability", lambda connection: self._read(connection, skus))
        except Exception as error:
            for one in batch:
                if not one.snapshot.done():
                    one.snapshot.set_exception(error)
            return
        for one in batch:
            if not one.snapshot.done():
                one.snapshot.set_result(snapshot)

    def _next_batch(self) -> tuple[list[_Waiting], set[str]]:
        batch: list[_Waiting] = []
        skus: set[str] = set()
        while self._waiting and (not batch or len(skus) < READ_SKUS):
            batch.append(self._waiting.pop(0))
            skus.update(batch[-1].skus)
        return batch, skus

    async def _read(self, connection: Connection, skus: set[str]) -> Snapshot:
        version, products = await catalog_store.products(connection, skus)
        known = await self._cache.at(connection, version)
        now, figures = await levels.read(connection, skus)
        return Snapshot(now, known, products, figures)


def answer(
    policy_set: PolicySet, snapshot: Snapshot, question: AvailabilityRequest
) -> availability_pb.CheckAvailabilityResponse:
    """The answer by these rules. Raises NotFound for a channel or SKU that the catalogue does not have."""
    key = (policy_set.revision, question)
    found = snapshot.answers.get(key)
    if found is None:
        found = snapshot.answers[key] = _answered(policy_set, snapshot, question)
    return found


def _answered(
    policy_set: PolicySet, snapshot: Snapshot, question: AvailabilityRequest
) -> availability_pb.CheckAvailabilityResponse:
    channel = snapshot.catalog.channels.get(question.channel_id)
    if channel is None:
        known = ", ".join(sorted(snapshot.catalog.channels)[:10]) or "none yet"
        raise NotFound("channel", {"channel_id": question.channel_id}, f"channels are: {known}")
    missing = {f"skus[{i}]": sku for i, sku in enumerate(question.skus) if sku not in snapshot.products}
    if missing:
        raise NotFound("product", missing, ADD_PRODUCT_FIRST)
    world = World(snapshot.now, snapshot.catalog.locations, snapshot.products, snapshot.levels)
    found = [
        assess_availability(policy_set, world, channel, sku, method=question.method, destination=question.destination)
        for sku in question.skus
    ]
    return availability_pb.CheckAvailabilityResponse(
        availabilities=[_message(one, world, include_locations=question.include_locations) for one in found],
        policy_revision=policy_set.revision,
        stock_read_time=proto_values.timestamp(snapshot.now),
    )


def _message(one: Availability, world: World, *, include_locations: bool) -> availability_pb.Availability:
    message = availability_pb.Availability(
        sku=one.sku,
        sellable_count=one.sellable,
        available_count=one.total_available,
        largest_single_order_count=one.largest_single_order,
        channel_buffer_count=one.held_back_by_channel,
    )
    if include_locations:
        message.locations.extend(_location(figure, world) for figure in one.locations)
        message.fired_rules.extend(decision_messages.fired_rule(fired) for fired in one.fired)
    return message


def _location(figure: LocationAvailability, world: World) -> availability_pb.LocationAvailability:
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


def _reasons(figure: LocationAvailability) -> list[str]:
    reasons = [fired.effect for fired in figure.blocked_by]
    if figure.not_used_by is not None:
        rule = f" by {figure.not_used_by.rule}" if figure.not_used_by.rule else ""
        reasons.append(f"{figure.not_used_by.reason}{rule}")
    return reasons
