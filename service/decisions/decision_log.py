"""Decisions and their inputs: captured when a decision is made, written with the order, read later.

A decision's inputs are stored with it. Its channel and locations, which rarely change, are stored once under the hash
of their content.
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

from policies.decisions.eligibility import NO_PROMISED_UNITS, WholeOrder
from policies.domain.model import Channel, Location, Order, Product, StockLevel, World
from policies.stock.oversell import OversellEvidence
from service import limits
from service.database.database import Connection, Statement, parameter, transposed, unnested
from service.database.tables import decision, decision_catalog
from service.decisions.decision_inputs import (
    channel_message,
    level_message,
    location_message,
    order_message,
    product_message,
    promised_units_messages,
    whole_order_message,
)
from service.decisions.decision_messages import oversell
from service.decisions.recorded_facts import INPUTS_VERSION
from service.rpc.proto_values import timestamp
from truestock.v1 import decision_pb2

CACHED_LEVELS, CACHED_PRODUCTS = 16_384, 4_096
"""Levels and products that are cached as bytes: most of an order's were already in the order before."""

_catalog_rows = unnested("catalog_row", hash=Text, content=LargeBinary)
_insert_catalogs = insert(decision_catalog).from_select(
    ["hash", "content"], select(_catalog_rows.c.hash, _catalog_rows.c.content).order_by(_catalog_rows.c.hash)
)
_STORE_CATALOGS = Statement(
    # RETURNING names only rows that this transaction writes, and it may roll back. A hash that is not returned
    # was committed by an earlier transaction within the last hour, so only that one may be skipped next time.
    _insert_catalogs.on_conflict_do_update(
        index_elements=["hash"],
        set_={"use_time": func.clock_timestamp()},
        where=decision_catalog.c.use_time < func.clock_timestamp() - parameter("renewed", Interval),
    ).returning(decision_catalog.c.hash)
)
_FIND = Statement(
    select(decision, decision_catalog.c.content.label("catalog_content"))
    .outerjoin(decision_catalog, decision_catalog.c.hash == decision.c.catalog_hash)
    .where(decision.c.id == parameter("id", Uuid))
)


@dataclass(slots=True)
class StoredCatalog:
    """One channel and its locations, serialized. Known to be stored until `stored_until`, in monotonic seconds."""

    hash: str
    content: bytes
    stored_until: float = 0.0


@dataclass(slots=True)
class DecisionInputs:
    """The inputs of one decision at its moment; later changes of the order do not change them."""

    snapshot: _ChannelSnapshot
    order: Order
    products: tuple[Product, ...]
    levels: tuple[StockLevel, ...]
    own_units: Mapping[tuple[str, str], int]
    rejected_by: frozenset[tuple[str, str]]
    now: datetime
    whole: WholeOrder | None = None
    oversells: tuple[OversellEvidence, ...] = ()
    """What was known about units that no permitted location had; read after the plan."""
    byte_count: int = 0
    """Size of the stored decision and its inputs; 0 before they are stored."""

    def serialize(self, explanation: bytes, *, is_summary: bool) -> tuple[bytes | None, StoredCatalog | None]:
        """The inputs and the catalog to store beside the explanation; None for both in a summary."""
        inputs = None if is_summary else self._inputs()
        catalog = None if inputs is None else self.snapshot.stored_catalog()
        if catalog is not None and len(catalog.content) > limits.DECISION_CATALOG_BYTES:
            inputs, catalog = None, None
        self.byte_count = len(explanation) + len(inputs or b"")
        return inputs, catalog

    def _inputs(self) -> bytes | None:
        """DecisionInputs without the catalog, the same bytes for the same inputs; None if they are too long."""
        parts = [self._order_bytes(), *map(_product_bytes, self.products)]
        remaining_bytes = limits.DECISION_BYTES - sum(map(len, parts))
        for level in self.levels:
            level_bytes = _level_bytes(level)
            remaining_bytes -= len(level_bytes)
            if remaining_bytes < 0:
                return None
            parts.append(level_bytes)
        # Concatenated protobuf messages are one message with the fields of all of them.
        return b"".join(parts) if remaining_bytes >= 0 else None

    def _order_bytes(self) -> bytes:
        return decision_pb2.DecisionInputs(
            order=order_message(self.order),
            promised_units=promised_units_messages(self.own_units),
            excluded_stock=[
                decision_pb2.ExcludedStock(sku=sku, location_id=location_id)
                for sku, location_id in sorted(self.rejected_by)
            ],
            now=timestamp(self.now),
            whole_order=whole_order_message(self.whole),
            oversells=[oversell(evidence) for evidence in self.oversells],
            inputs_version=INPUTS_VERSION,
        ).SerializeToString(deterministic=True)


def capture(
    world: World,
    channel: Channel,
    order: Order,
    own_units: Mapping[tuple[str, str], int] = NO_PROMISED_UNITS,
    *,
    rejected_by: frozenset[tuple[str, str]] = frozenset(),
    whole: WholeOrder | None = None,
) -> DecisionInputs:
    """The inputs of a call of `route`, with current stock levels. To be called before any unit is promised."""
    snapshot = _snapshot_of(world.locations, channel)
    skus = sorted(order.units_by_sku())
    levels, all_products = world.levels, world.products
    return DecisionInputs(
        snapshot,
        order,
        tuple([all_products[sku] for sku in skus if sku in all_products]),
        tuple(
            [level for sku in skus for key in snapshot.location_ids if (level := levels.get((sku, key))) is not None]
        ),
        own_units,
        rejected_by,
        world.now,
        whole,
    )


@dataclass(slots=True)
class _ChannelSnapshot:
    """A channel in one version of the catalog. `locations` are all locations; the mapping is never changed."""

    channel: Channel
    locations: Mapping[str, Location]
    location_ids: tuple[str, ...]
    _stored_catalog: StoredCatalog | None = None

    def stored_catalog(self) -> StoredCatalog:
        """Its stored form, serialized at the first call."""
        if self._stored_catalog is None:
            content = decision_pb2.DecisionInputs(
                channel=channel_message(self.channel),
                locations=[location_message(self.locations[key]) for key in self.location_ids],
            ).SerializeToString(deterministic=True)
            self._stored_catalog = StoredCatalog(sha256(content).hexdigest(), content)
        return self._stored_catalog


_snapshots: dict[str, _ChannelSnapshot] = {}
"""The newest snapshot of each channel by id; at most one for each channel."""


def _snapshot_of(locations: Mapping[str, Location], channel: Channel) -> _ChannelSnapshot:
    """The snapshot of a channel, the same object until the channel or a location is edited."""
    snapshot = _snapshots.get(channel.id)
    if snapshot is None or snapshot.locations is not locations or snapshot.channel is not channel:
        may_use = channel.location_ids or locations
        snapshot = _ChannelSnapshot(channel, locations, tuple(sorted(key for key in may_use if key in locations)))
        _snapshots[channel.id] = snapshot
    return snapshot


@lru_cache(CACHED_LEVELS)
def _level_bytes(level: StockLevel) -> bytes:
    return decision_pb2.DecisionInputs(levels=[level_message(level)]).SerializeToString(deterministic=True)


@lru_cache(CACHED_PRODUCTS)
def _product_bytes(product: Product) -> bytes:
    return decision_pb2.DecisionInputs(products=[product_message(product)]).SerializeToString(deterministic=True)


async def store_catalogs(connection: Connection, catalogs: Iterable[StoredCatalog]) -> None:
    """Stores the catalogs that may be missing, in the transaction of the decisions that refer to them."""
    now = time.monotonic()
    unconfirmed = {catalog.hash: catalog for catalog in catalogs if catalog.stored_until <= now}
    if not unconfirmed:
        return
    rows = [(catalog.hash, catalog.content) for catalog in unconfirmed.values()]
    renewed = limits.DECISION_RENEWAL_INTERVAL
    written = await _STORE_CATALOGS.rows(connection, renewed=renewed, **transposed(["hash", "content"], rows))
    for key in unconfirmed.keys() - {r["hash"] for r in written}:
        unconfirmed[key].stored_until = now + renewed.total_seconds()


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A stored decision. `inputs` is None in a summary."""

    id: UUID
    allocation_id: UUID
    policy_revision: str
    software_version: str
    explanation: bytes
    inputs: decision_pb2.DecisionInputs | None
    decide_time: datetime


async def find(connection: Connection, decision_id: UUID) -> StoredDecision | None:
    """The decision of this id; None if there is none, or if it was purged."""
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
    if row["inputs"] is None or row["catalog_content"] is None:
        return None
    return decision_pb2.DecisionInputs.FromString(row["catalog_content"] + row["inputs"])
