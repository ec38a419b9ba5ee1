"""Reroutes late shipments that no location has accepted, if their rule says `reroute`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from policies.decisions.exception_policy import handling_of
from policies.domain.model import Commitment, OrderFacts
from policies.domain.resolutions import REROUTED
from policies.domain.shipments import ShipmentState
from policies.policy_set import PolicySet
from service.allocation.lifecycle import open_unit_of_work
from service.allocation.planning_context import context
from service.allocation.replanning import rebalancing
from service.allocation.unit_of_work import UnitOfWork
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog, CatalogCache
from service.database.database import Connection
from service.exceptions import incidents
from service.exceptions.incidents import Incident
from service.orders import order_store
from service.orders.allocation_record import AllocationRecord
from service.orders.order_exceptions import OrderException
from service.resolution.lateness import DELIVERY, LATE, LATE_SHIPMENT
from service.resolution.resolution_actions import ResolutionContext, apply_resolution
from service.stock import levels


async def reroute_late(
    connection: Connection,
    *,
    shipment: asyncpg.Record,
    cache: CatalogCache,
    policy_set: PolicySet,
    new_id: Callable[[], UUID],
) -> UnitOfWork | None:
    """Reroutes a late shipment, a row of `lateness.LATE`; None if its rule does not say `reroute`.

    Raises CannotResolve if its units cannot be allocated elsewhere: then a person has to act.
    """
    allocation_id = shipment["allocation_id"]
    if shipment["state"] != ShipmentState.ASSIGNED or not await order_store.lock_if_free(connection, [allocation_id]):
        return None
    late = await LATE.of_orders(connection, [allocation_id])
    if not any((row["id"], row["state"]) == (shipment["id"], ShipmentState.ASSIGNED) for row in late):
        return None
    incident = await _incident(connection, shipment, cache)
    handling = handling_of(policy_set, incidents.rule_context(incident, await levels.clock(connection)))
    if handling.action != "reroute":
        return None
    skus = await order_store.line_skus(connection, [allocation_id])
    unit_of_work = await open_unit_of_work(connection, [allocation_id], skus, new_id)
    book, record = unit_of_work.book, unit_of_work.records[allocation_id]
    channel_context = (await context(connection, cache, policy_set, skus, book=book)).of(record.channel_id)
    exception = ResolutionContext(shipment["id"], LATE_SHIPMENT, handling.action, shipment_id=shipment["id"])
    order_change = apply_resolution(channel_context, book, record, exception, REROUTED)
    resolved_exception = OrderException(
        kind=LATE_SHIPMENT,
        description=incident.description,
        handling=handling,
        due_time=book.now + handling.due_in,
        policy_revision=policy_set.revision,
        resolution=REROUTED,
        note=order_change.description,
        shipment_id=shipment["id"],
        channel_id=record.channel_id,
        location_id=shipment["location_id"],
    )
    unit_of_work.record(replace(order_change, exceptions=(resolved_exception, *order_change.exceptions)))
    await rebalancing.rebalance(connection, unit_of_work, cache, policy_set)
    await unit_of_work.write(connection)
    return unit_of_work


def late_incident(row: asyncpg.Record, record: AllocationRecord, catalog: Catalog) -> Incident:
    """The incident of a late shipment, a row of `lateness.LATE`."""
    due = "due for collection at" if row["state"] == "ready_for_pickup" else "due to ship from"
    state = row["state"].replace("_", " ")
    sentence = f"The shipment was {due} {row['location_id']} by {_missed_times(row, record)} and is {state}."
    return replace(
        with_order_facts(Incident(LATE_SHIPMENT, str(row["id"]), sentence), record, catalog),
        location=catalog.locations.get(row["location_id"]),
        location_id=row["location_id"],
        shipment_id=row["id"],
    )


def late_delivery(row: asyncpg.Record, record: AllocationRecord, catalog: Catalog) -> Incident:
    """The incident of a shipment that has not arrived, a row of `lateness.LATE_DELIVERIES`."""
    due = _time_text(row["deadline"])
    sentence = f"The shipment from {row['location_id']} should have arrived by {due} and is not reported as delivered."
    return replace(
        with_order_facts(Incident(LATE_SHIPMENT, str(row["id"]), sentence), record, catalog),
        location=catalog.locations.get(row["location_id"]),
        location_id=row["location_id"],
        shipment_id=row["id"],
        sub_kind=DELIVERY,
    )


def _missed_times(row: asyncpg.Record, record: AllocationRecord) -> str:
    """The times that were missed: the location's, and the channel's by name."""
    times = []
    if not row["is_channel_late"] or row["is_ours_late"]:
        times.append(_time_text(row["our_time"] if row["is_channel_late"] else row["deadline"]))
    if row["is_channel_late"]:
        times.append(f"{_time_text(row['channel_time'])}, which is {record.channel_id}'s own time,")
    return " and ".join(times)


def _time_text(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def with_order_facts(incident: Incident, record: AllocationRecord, catalog: Catalog) -> Incident:
    """The incident with the facts of its order for exception rules."""
    order = record.order(Commitment.SOLD)
    return replace(
        incident,
        channel=catalog.channels.get(record.channel_id),
        channel_id=record.channel_id,
        allocation_id=record.id,
        order=OrderFacts.of(order),
        destination=order.destination,
    )


async def _incident(connection: Connection, shipment: asyncpg.Record, cache: CatalogCache) -> Incident:
    version, _ = await catalog_store.products(connection, ())
    records = await order_store.read(connection, [shipment["allocation_id"]])
    return late_incident(shipment, records[shipment["allocation_id"]], await cache.at(connection, version))
