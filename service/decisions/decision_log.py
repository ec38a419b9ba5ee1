"""The inputs of decisions: captured when a decision is made, and serialized to be stored with it.

A decision's channel and locations, which rarely change, are stored once under the hash of their content.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Final

from sqlalchemy import Interval, LargeBinary, Text, func, select
from sqlalchemy.dialects.postgresql import insert

from policies.decisions.eligibility import NO_PROMISED_UNITS, WholeOrder
from policies.domain.capacity import CapacityFigures
from policies.domain.model import Channel, Location, Order, Product, StockLevel, World
from policies.domain.remembered import remember
from policies.stock.oversell import OversellEvidence
from service import limits
from service.background import let_others_run
from service.database.database import Connection, Statement, parameter, transposed, unnested
from service.database.tables import decision_catalog
from service.decisions.decision_inputs import (
    channel_message,
    level_message,
    location_message,
    product_message,
    promised_units_messages,
    set_order,
    whole_order_message,
)
from service.decisions.decision_messages import oversell
from service.decisions.recorded_capacity import RecordedCapacity
from service.decisions.recorded_facts import INPUTS_VERSION
from service.rpc.proto_values import timestamp
from truestock.v1 import decision_pb2

CACHED_LEVELS, CACHED_PRODUCTS = 16_384, 4_096
"""Levels and products that are cached as bytes: most of an order's were already in the order before."""
_levels_as_bytes: dict[tuple[str, str], tuple[StockLevel, bytes]] = {}
"""By SKU and location, the latest level that a decision used, and its bytes. Earlier ones do not come again."""

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


@dataclass(slots=True)
class StoredCatalog:
    """One channel and its locations, serialized. Known to be stored until `stored_until`, in monotonic seconds."""

    hash: str
    content: bytes
    stored_until: float = 0.0


@dataclass(slots=True, unsafe_hash=True)
class ProductLevels:
    """A product of a decision with its stock levels at the channel's locations, by location id.

    `product` is None if the catalog does not have it.
    """

    sku: Final[str]
    product: Final[Product | None]
    levels: Final[tuple[StockLevel, ...]]


@dataclass(slots=True)
class DecisionInputs:
    """The inputs of one decision at its moment; later changes of the order do not change them."""

    snapshot: ChannelSnapshot
    order: Order
    stock: tuple[ProductLevels, ...]
    """By SKU."""
    own_units: Mapping[tuple[str, str], int]
    rejected_by: frozenset[tuple[str, str]]
    now: datetime
    whole: WholeOrder | None = None
    oversells: tuple[OversellEvidence, ...] = ()
    """What was known about units that no permitted location had; read after the plan."""
    capacity: CapacityFigures | None = None
    """What was taken of the locations' capacity, also of others than the channel's; None if that was not read."""
    byte_count: int = 0
    """Bytes that were stored for the decision and its inputs; 0 before they are stored."""

    def by_value(self) -> bytes | None:
        """DecisionInputs without the catalog and the destination, the same bytes for the same inputs.

        None if they are too long.
        """
        parts = [order_bytes(self), moment_bytes(self.now)]
        remaining_bytes = limits.DECISION_BYTES - sum(map(len, parts))
        for stock in self.stock:
            let_others_run()
            content = product_levels_bytes(stock, remaining_bytes)
            if content is None:
                return None
            remaining_bytes -= len(content)
            parts.append(content)
        # Concatenated protobuf messages are one message with the fields of all of them.
        return b"".join(parts) if remaining_bytes >= 0 else None


def order_bytes(inputs: DecisionInputs) -> bytes:
    """What a decision shares with no other: DecisionInputs with its order, without the destination."""
    message = decision_pb2.DecisionInputs()
    set_order(message.order, inputs.order)
    if inputs.whole is not None:
        message.whole_order.CopyFrom(whole_order_message(inputs.whole))
    if inputs.own_units:
        message.promised_units.extend(promised_units_messages(inputs.own_units))
    for sku, location_id in sorted(inputs.rejected_by):
        message.excluded_stock.add(sku=sku, location_id=location_id)
    if inputs.oversells:
        message.oversells.extend(oversell(evidence) for evidence in inputs.oversells)
    store_id, snapshot = inputs.order.pickup_location_id or "", inputs.snapshot
    if store_id in snapshot.locations and store_id not in snapshot.location_ids:
        # What it lacks may reach the shopper from others, though the channel sells nothing of it.
        message.locations.append(location_message(snapshot.locations[store_id]))
    content = message.SerializeToString(deterministic=True)
    if inputs.capacity is None or not inputs.capacity.used:
        return content
    return content + inputs.snapshot.recorded_capacity.content(inputs.capacity)


def moment_bytes(now: datetime) -> bytes:
    """DecisionInputs with the time of a decision and the version of its inputs."""
    message = decision_pb2.DecisionInputs(now=timestamp(now), inputs_version=INPUTS_VERSION)
    return message.SerializeToString(deterministic=True)


def product_levels_bytes(stock: ProductLevels, byte_limit: int) -> bytes | None:
    """DecisionInputs with a product and its levels; None if it is longer than the limit."""
    parts = [] if stock.product is None else [_product_bytes(stock.product)]
    byte_count = sum(map(len, parts))
    for level in stock.levels:
        level_bytes = _level_bytes(level)
        byte_count += len(level_bytes)
        if byte_count > byte_limit:
            return None
        parts.append(level_bytes)
    return b"".join(parts)


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
    levels, location_ids = world.levels, snapshot.location_ids
    stock = []
    for sku in sorted(order.skus()):
        world.pause()
        at_locations = tuple([level for key in location_ids if (level := levels.get((sku, key))) is not None])
        stock.append(ProductLevels(sku, world.products.get(sku), at_locations))
    return DecisionInputs(
        snapshot,
        order,
        tuple(stock),
        own_units,
        rejected_by,
        world.now,
        whole,
        capacity=world.capacity,
    )


@dataclass(slots=True)
class ChannelSnapshot:
    """A channel in one version of the catalog. `locations` are all locations; the mapping is never changed."""

    channel: Channel
    locations: Mapping[str, Location]
    location_ids: tuple[str, ...]
    recorded_capacity: RecordedCapacity
    """That of the locations that state a capacity."""
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


_snapshots: dict[str, ChannelSnapshot] = {}
"""The newest snapshot of each channel by id; at most one for each channel."""


def _snapshot_of(locations: Mapping[str, Location], channel: Channel) -> ChannelSnapshot:
    """The snapshot of a channel, the same object until the channel or a location is edited."""
    snapshot = _snapshots.get(channel.id)
    if snapshot is None or snapshot.locations is not locations or snapshot.channel is not channel:
        may_use = channel.location_ids or locations
        ids = sorted(key for key in may_use if key in locations)
        limited_ids = frozenset(key for key in ids if locations[key].capacity is not None)
        snapshot = ChannelSnapshot(channel, locations, tuple(ids), RecordedCapacity(limited_ids))
        _snapshots[channel.id] = snapshot
    return snapshot


def _level_bytes(level: StockLevel) -> bytes:
    key = (level.sku, level.location_id)
    known = _levels_as_bytes.get(key)
    if known is not None and known[0] == level:
        return known[1]
    content = decision_pb2.DecisionInputs(levels=[level_message(level)]).SerializeToString(deterministic=True)
    remember(_levels_as_bytes, key, (level, content), at_most=CACHED_LEVELS)
    return content


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
