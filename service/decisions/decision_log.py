"""Decisions with everything that they were made from: caught while they are made, written with the order, read later.

A decision's inputs are stored with it. The channel and its locations, which are many and rarely change, are stored once
under the hash of their contents.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from uuid import UUID

import asyncpg
from sqlalchemy import Interval, LargeBinary, Text, Uuid, func, select
from sqlalchemy.dialects.postgresql import insert

from policies.decisions.eligibility import NO_PROMISED_UNITS
from policies.domain.model import Channel, Location, Order, Product, StockLevel, World
from service import limits
from service.database.database import Connection, Statement, parameter, transposed, unnested
from service.database.tables import decision, decision_catalog
from service.decisions.decision_inputs import (
    channel_message,
    level_message,
    location_message,
    order_message,
    product_message,
)
from service.rpc.proto_values import timestamp
from truestock.v1 import decision_pb2

CACHED_LEVELS, CACHED_PRODUCTS = 16_384, 4_096
"""Levels and products that are kept as bytes: most of an order's are those of the order before."""

_catalog_rows = unnested("one", hash=Text, content=LargeBinary)
_insert_catalogs = insert(decision_catalog).from_select(
    ["hash", "content"], select(_catalog_rows.c.hash, _catalog_rows.c.content).order_by(_catalog_rows.c.hash)
)
_STORE_CATALOGS = Statement(
    # Nothing comes back of a catalogue that somebody has committed within the hour: only that one may be relied on.
    _insert_catalogs.on_conflict_do_update(
        index_elements=["hash"],
        set_={"use_time": func.clock_timestamp()},
        where=decision_catalog.c.use_time < func.clock_timestamp() - parameter("renewed", Interval),
    ).returning(decision_catalog.c.hash)
)
_FIND = Statement(
    select(decision, decision_catalog.c.content.label("catalogue"))
    .outerjoin(decision_catalog, decision_catalog.c.hash == decision.c.catalog_hash)
    .where(decision.c.id == parameter("id", Uuid))
)


@dataclass(slots=True)
class StoredCatalog:
    """One channel and its locations, ready to be stored. `known_until` is when it may have to be stored again."""

    hash: str
    content: bytes
    known_until: float = 0.0


@dataclass(slots=True)
class DecisionInputs:
    """What one decision is made from, as it is at that moment; what becomes of the order later does not change it."""

    place: _ChannelSnapshot
    order: Order
    products: tuple[Product, ...]
    levels: tuple[StockLevel, ...]
    own: Mapping[tuple[str, str], int]
    excluded: frozenset[tuple[str, str]]
    now: datetime
    byte_count: int = 0
    """Bytes that were stored of the decision and its inputs, once they are."""

    def stored(self, explanation: bytes, *, short: bool) -> tuple[bytes | None, StoredCatalog | None]:
        """The inputs and their catalogue as they are stored beside the explanation; neither in a short record."""
        inputs = None if short else self._inputs()
        catalog = None if inputs is None else self.place.kept()
        if catalog is not None and len(catalog.content) > limits.DECISION_CATALOG_BYTES:
            inputs, catalog = None, None
        self.byte_count = len(explanation) + len(inputs or b"")
        return inputs, catalog

    def _inputs(self) -> bytes | None:
        """DecisionInputs without the catalogue, the same bytes for the same inputs; None where they are too long."""
        parts = [self._order_part(), *map(_product_bytes, self.products)]
        room = limits.DECISION_BYTES - sum(map(len, parts))
        for level in self.levels:
            part = _level_bytes(level)
            room -= len(part)
            if room < 0:
                return None
            parts.append(part)
        # Serialised messages one after the other are one message with the fields of all.
        return b"".join(parts) if room >= 0 else None

    def _order_part(self) -> bytes:
        return decision_pb2.DecisionInputs(
            order=order_message(self.order),
            promised_units=[
                decision_pb2.PromisedUnits(sku=sku, location_id=place, unit_count=units)
                for (sku, place), units in sorted(self.own.items())
            ],
            excluded_stock=[
                decision_pb2.ExcludedStock(sku=sku, location_id=place) for sku, place in sorted(self.excluded)
            ],
            now=timestamp(self.now),
        ).SerializeToString(deterministic=True)


def capture(
    world: World,
    channel: Channel,
    order: Order,
    own: Mapping[tuple[str, str], int] = NO_PROMISED_UNITS,
    excluded: frozenset[tuple[str, str]] = frozenset(),
) -> DecisionInputs:
    """What `route` is about to be asked, with the levels as they are now. To be called before anything is promised."""
    place = _channel_snapshot(world.locations, channel)
    skus = sorted(order.units_by_sku())
    levels, found = world.levels, world.products
    return DecisionInputs(
        place,
        order,
        tuple([found[sku] for sku in skus if sku in found]),
        tuple([level for sku in skus for key in place.location_ids if (level := levels.get((sku, key))) is not None]),
        own,
        excluded,
        world.now,
    )


@dataclass(slots=True)
class _ChannelSnapshot:
    """A channel in one state of the catalogue. `locations` are all that there are, and are never changed."""

    channel: Channel
    locations: Mapping[str, Location]
    location_ids: tuple[str, ...]
    _kept: StoredCatalog | None = None

    def kept(self) -> StoredCatalog:
        """What is stored of it, made when it is first asked for."""
        if self._kept is None:
            content = decision_pb2.DecisionInputs(
                channel=channel_message(self.channel),
                locations=[location_message(self.locations[key]) for key in self.location_ids],
            ).SerializeToString(deterministic=True)
            self._kept = StoredCatalog(sha256(content).hexdigest(), content)
        return self._kept


_snapshots: dict[str, _ChannelSnapshot] = {}
"""The newest state of each channel that orders were decided in, by id. There are as many as there are channels."""


def _channel_snapshot(locations: Mapping[str, Location], channel: Channel) -> _ChannelSnapshot:
    """The channel in this state of the catalogue, which stays the same object until it is edited."""
    known = _snapshots.get(channel.id)
    if known is None or known.locations is not locations or known.channel is not channel:
        may_use = channel.location_ids or locations
        known = _ChannelSnapshot(channel, locations, tuple(sorted(key for key in may_use if key in locations)))
        _snapshots[channel.id] = known
    return known


@lru_cache(CACHED_LEVELS)
def _level_bytes(level: StockLevel) -> bytes:
    return decision_pb2.DecisionInputs(levels=[level_message(level)]).SerializeToString(deterministic=True)


@lru_cache(CACHED_PRODUCTS)
def _product_bytes(product: Product) -> bytes:
    return decision_pb2.DecisionInputs(products=[product_message(product)]).SerializeToString(deterministic=True)


async def store_catalogs(connection: Connection, catalogues: Iterable[StoredCatalog]) -> None:
    """Stores the catalogues that may not be there, once in the transaction of the decisions that name them."""
    now = time.monotonic()
    unknown = {one.hash: one for one in catalogues if one.known_until <= now}
    if not unknown:
        return
    rows = [(one.hash, one.content) for one in unknown.values()]
    renewed = limits.DECISION_RENEWAL_INTERVAL
    written = await _STORE_CATALOGS.rows(connection, renewed=renewed, **transposed(["hash", "content"], rows))
    for known in unknown.keys() - {r["hash"] for r in written}:
        unknown[known].known_until = now + renewed.total_seconds()


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision as it was stored. `inputs` is None in a short record."""

    id: UUID
    allocation_id: UUID
    policy_revision: str
    software_version: str
    explanation: bytes
    inputs: decision_pb2.DecisionInputs | None
    decide_time: datetime


async def find(connection: Connection, decision_id: UUID) -> StoredDecision | None:
    """The decision of this id; None where none was made, or none is kept."""
    row = await _FIND.row(connection, id=decision_id)
    if row is None:
        return None
    return StoredDecision(
        row["id"],
        row["allocation_id"],
        row["policy_revision"],
        row["software_version"],
        row["explanation"],
        _inputs(row),
        row["create_time"],
    )


def _inputs(row: asyncpg.Record) -> decision_pb2.DecisionInputs | None:
    if row["inputs"] is None or row["catalogue"] is None:
        return None
    return decision_pb2.DecisionInputs.FromString(row["catalogue"] + row["inputs"])
