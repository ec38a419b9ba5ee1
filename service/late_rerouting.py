"""Late shipments that nobody has begun to work on, and whose rule says `reroute`: policy places them elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from uuid import UUID

import asyncpg

from policies.exceptions import settle
from policies.model import Commitment, OrderFacts
from policies.policy import PolicySet
from policies.resolutions import REROUTED
from policies.shipments import ShipmentState
from service import aftermath, catalogue, incidents, levels, orders
from service.catalogue import Catalogue, CatalogueCache
from service.database import Connection
from service.doings import Doings
from service.exceptions import OrderException
from service.incidents import Incident
from service.lateness import LATE, LATE_SHIPMENT
from service.lifecycle import open_orders
from service.record import AllocationRecord
from service.settling import Case, settle_order
from service.surroundings import scene


async def reroute_late(
    connection: Connection,
    *,
    shipment: asyncpg.Record,
    cache: CatalogueCache,
    policy_set: PolicySet,
    new_id: Callable[[], UUID],
) -> Doings | None:
    """Places a late shipment elsewhere, a row of `lateness.LATE`; None where its rule does not say so.

    Raises CannotSettle where it cannot be placed: then somebody has to settle it.
    """
    allocation_id = shipment["allocation_id"]
    if shipment["state"] != ShipmentState.ASSIGNED or not await orders.lock_free(connection, [allocation_id]):
        return None
    late = await LATE.of_orders(connection, [allocation_id])
    if not any((row["id"], row["state"]) == (shipment["id"], ShipmentState.ASSIGNED) for row in late):
        return None
    incident = await _incident(connection, shipment, cache)
    settlement = settle(policy_set, incidents.context_of(incident, await levels.clock(connection)))
    if settlement.action != "reroute":
        return None
    skus = await orders.line_skus(connection, [allocation_id])
    doings = await open_orders(connection, [allocation_id], skus, new_id)
    book, record = doings.book, doings.records[allocation_id]
    surroundings = (await scene(connection, cache, policy_set, skus)).of(record.channel_id)
    case = Case(shipment["id"], LATE_SHIPMENT, settlement.action, shipment_id=shipment["id"])
    verdict = settle_order(surroundings, book, record, case, REROUTED)
    raised = OrderException(
        kind=LATE_SHIPMENT,
        description=incident.description,
        settlement=settlement,
        due_time=book.now + settlement.due_in,
        policy_revision=policy_set.revision,
        resolution=REROUTED,
        note=verdict.description,
        shipment_id=shipment["id"],
        channel_id=record.channel_id,
        location_id=shipment["location_id"],
    )
    doings.note(replace(verdict, exceptions=(raised, *verdict.exceptions)))
    await aftermath.follow(connection, doings, cache, policy_set)
    await doings.write(connection)
    return doings


def late_incident(row: asyncpg.Record, record: AllocationRecord, known: Catalogue) -> Incident:
    """A late shipment, a row of `lateness.LATE`, as an exception to raise."""
    by = f"{row['deadline'].astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    waits = "was to be collected from" if row["state"] == "ready_for_pickup" else "was to leave"
    sentence = f"The shipment {waits} {row['location_id']} by {by} and is {row['state'].replace('_', ' ')}."
    return replace(
        of_order(Incident(LATE_SHIPMENT, str(row["id"]), sentence), record, known),
        location=known.locations.get(row["location_id"]),
        location_id=row["location_id"],
        shipment_id=row["id"],
    )


def of_order(one: Incident, record: AllocationRecord, known: Catalogue) -> Incident:
    """The incident with what exception rules may ask of its order."""
    order = record.order(Commitment.SOLD)
    return replace(
        one,
        channel=known.channels.get(record.channel_id),
        channel_id=record.channel_id,
        allocation_id=record.id,
        order=OrderFacts.of(order),
        destination=order.destination,
    )


async def _incident(connection: Connection, shipment: asyncpg.Record, cache: CatalogueCache) -> Incident:
    version, _ = await catalogue.products(connection, ())
    records = await orders.read(connection, [shipment["allocation_id"]])
    return late_incident(shipment, records[shipment["allocation_id"]], await cache.at(connection, version))
