"""Replans sold orders after an edit of the catalog that forbids them a location, or raises an exception about them.

An edit of a location or a channel sets `location.recheck_version`, and shipments that were planned by an older catalog
are checked here. So no restart forgets one, and an order that was planned while the edit was made is found too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from sqlalchemy import BigInteger, Integer, Text, Uuid, func, literal_column, select, true, update

from policies.domain.resolutions import COMPLETED
from policies.domain.shipments import OPEN, ShipmentState
from policies.explanation import unit_count_text
from service.allocation.lifecycle import open_unit_of_work
from service.allocation.planning_context import PlanningContext, context
from service.allocation.replanning import rebalancing
from service.allocation.replanning.promise_check import unusable_shipments
from service.allocation.replanning.rerouting import move_units
from service.allocation.unit_of_work import UnitOfWork
from service.capacity import capacity_store
from service.catalog.catalog_store import Catalog
from service.database.database import Connection, Statement, any_of, parameter
from service.database.tables import IS_OPEN, allocation, exception, location, shipment
from service.dependencies import Dependencies
from service.exceptions import incidents, order_incidents
from service.exceptions.incidents import Incident, RaisedException, ResolvedException
from service.orders import order_store
from service.orders.allocation_record import CONFIRMED, AllocationRecord, ShipmentRecord
from service.resolution.late_rerouting import with_order_facts
from service.resolution.lateness import LOCATION_UNAVAILABLE
from service.stock import levels, stock_age

BATCH = 25
"""Orders per transaction. Each may lock the stock levels of its products at every location."""

SKUS_SHOWN = 5
"""SKUs that the sentence of an exception names."""

_OUTDATED = (
    select(shipment.c.allocation_id)
    .join(allocation, allocation.c.id == shipment.c.allocation_id)
    .where(
        shipment.c.location_id == location.c.id,
        shipment.c.catalog_version < location.c.recheck_version,
        IS_OPEN,
        allocation.c.state == literal_column("'confirmed'"),
    )
    .limit(parameter("count", Integer))
    .lateral("outdated")
)
# One look-up in the index for each location: a join could read every open shipment instead.
_FIND = Statement(
    select(_OUTDATED.c.allocation_id)
    .select_from(location.join(_OUTDATED, true()))
    .distinct()
    .limit(parameter("count", Integer))
)
_MARK = Statement(
    update(shipment)
    .values(catalog_version=func.greatest(shipment.c.catalog_version, parameter("version", BigInteger)))
    .where(shipment.c.id == any_of("ids", Uuid))
)
_OPEN_EXCEPTIONS = Statement(
    select(exception.c.id, exception.c.subject, exception.c.allocation_id, exception.c.policy_revision).where(
        exception.c.state == literal_column("'open'"),
        exception.c.subject != literal_column("''"),
        exception.c.kind == literal_column(f"'{LOCATION_UNAVAILABLE}'"),
        exception.c.subject == any_of("subjects", Text),
    )
)


@dataclass(slots=True)
class _Checked:
    """What one transaction did, to be counted after the commit. `manual` has the channel of each order for a person."""

    found_count: int
    checked_count: int = 0
    unit_of_work: UnitOfWork | None = None
    raised: list[RaisedException] = field(default_factory=list)
    resolved: list[ResolvedException] = field(default_factory=list)
    manual: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Stranded:
    """Units of an order that stay promised at a location that the order may not use, and the reason."""

    record: AllocationRecord
    shipment: ShipmentRecord
    reason: str


class LocationSweep:
    """Each sweep checks all outdated shipments of sold orders, in transactions of at most `BATCH` orders.

    Units that no location has begun to handle move to other locations. What cannot move, or what a closed location has
    begun, stays promised there, and an exception says so.
    """

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def run(self) -> None:
        """One sweep over everything."""
        while True:
            checked = await self._deps.database.transaction("recheck_locations", self._check, self._count)
            # Orders that were found and not checked are locked by other transactions; a later sweep takes them.
            if checked.found_count < BATCH or not checked.checked_count:
                return

    def _count(self, checked: _Checked) -> None:
        metrics = self._deps.metrics
        if checked.unit_of_work is not None:
            checked.unit_of_work.count(metrics)
        incidents.count_raised(metrics, checked.raised)
        incidents.count_resolved(metrics, LOCATION_UNAVAILABLE, COMPLETED, checked.resolved)
        for channel_id in checked.manual:
            metrics.orders.manual_interventions.labels(channel_id, LOCATION_UNAVAILABLE).inc()

    async def _check(self, connection: Connection) -> _Checked:
        found = [row["allocation_id"] for row in await _FIND.rows(connection, count=BATCH)]
        locked = await order_store.lock_if_free(connection, found)
        stored = {id: x for id, x in (await order_store.read(connection, locked)).items() if x.state == CONFIRMED}
        if not stored:
            return _Checked(len(found))
        skus = {sku for record in stored.values() for sku in record.skus}
        planning = await context(connection, self._deps.catalog_cache, self._deps.policies(), skus)
        reasons: dict[UUID, str] = {}
        for record in stored.values():
            reasons |= unusable_shipments(planning.of(record.channel_id), record)
        outdated = [x for record in stored.values() for x in record.shipments if x.is_outdated and x.state in OPEN]
        unit_of_work = await self._move(connection, planning, stored.values(), reasons)
        await _MARK.run(connection, version=planning.catalog.version, ids=[x.id for x in outdated])
        records = stored | (unit_of_work.records if unit_of_work else {})
        checked = _Checked(len(found), len(stored), unit_of_work)
        stranded = list(_stranded([records[id] for id in stored], reasons, planning.catalog))
        await self._raise(connection, planning.catalog, stranded, checked)
        await self._resolve(connection, {x.id for x in outdated} - {x.shipment.id for x in stranded}, checked)
        return checked

    async def _move(
        self,
        connection: Connection,
        planning: PlanningContext,
        stored: Iterable[AllocationRecord],
        reasons: Mapping[UUID, str],
    ) -> UnitOfWork | None:
        """Moves what can be moved of the shipments with a reason, the oldest orders first; None if none has begun."""
        ids = [record.id for record in stored if any(_may_move(x, reasons) for x in record.shipments)]
        if not ids:
            return None
        skus = await order_store.line_skus(connection, ids)
        unit_of_work = await open_unit_of_work(connection, ids, skus, self._deps.new_id)
        await capacity_store.read_figures(connection, unit_of_work.book, planning.catalog)
        await stock_age.read_receipts(connection, unit_of_work.book, planning.policy_set, planning.products)
        records = [unit_of_work.records[id] for id in ids]
        for record in sorted(records, key=lambda record: (record.create_time, record.id)):
            for planned in [x for x in record.shipments if _may_move(x, reasons)]:
                channel_context = planning.of(record.channel_id)
                change = move_units(channel_context, unit_of_work.book, record, planned, cause=LOCATION_UNAVAILABLE)
                if change is not None:
                    unit_of_work.record(change)
        await rebalancing.rebalance(connection, unit_of_work, self._deps.catalog_cache, planning.policy_set)
        await unit_of_work.write(connection)
        return unit_of_work

    async def _raise(
        self, connection: Connection, catalog: Catalog, stranded: Sequence[_Stranded], checked: _Checked
    ) -> None:
        now, policy_set = await levels.clock(connection), self._deps.policies()
        found = [_incident(x, catalog) for x in stranded]
        checked.raised, checked.manual = await order_incidents.raise_on_orders(
            connection, policy_set, now, found, self._deps.new_id
        )

    async def _resolve(self, connection: Connection, usable: Iterable[UUID], checked: _Checked) -> None:
        """Resolves the exceptions of shipments that have moved, or whose location their order may use again."""
        rows = await _OPEN_EXCEPTIONS.rows(connection, subjects=[str(id) for id in usable])
        if not rows:
            return
        now, sentence = await levels.clock(connection), "The order may use the location again, or has left it."
        checked.resolved = await order_incidents.resolve_on_orders(
            connection, now, LOCATION_UNAVAILABLE, rows, description=sentence, new_id=self._deps.new_id
        )


def _may_move(planned: ShipmentRecord, reasons: Mapping[UUID, str]) -> bool:
    # Whether units that a location has begun to handle are packed already, only a person can find out.
    return planned.id in reasons and planned.state is ShipmentState.ASSIGNED


def _stranded(
    records: Iterable[AllocationRecord], reasons: Mapping[UUID, str], catalog: Catalog
) -> Iterable[_Stranded]:
    for record in records:
        for planned in record.shipments:
            if planned.id not in reasons or not planned.units or planned.state not in OPEN:
                continue
            at = catalog.locations.get(planned.location_id)
            is_closed = at is None or at.status == "closed"
            if planned.state is ShipmentState.ASSIGNED or is_closed:
                yield _Stranded(record, planned, reasons[planned.id])


def _incident(stranded: _Stranded, catalog: Catalog) -> Incident:
    record, planned = stranded.record, stranded.shipment
    skus = sorted({record.line(line_id).sku for line_id in planned.units})
    unit_count = sum(planned.units.values())
    more = f" and {len(skus) - SKUS_SHOWN} more" if len(skus) > SKUS_SHOWN else ""
    units = f"{unit_count_text(unit_count)} ({', '.join(skus[:SKUS_SHOWN])}{more})"
    if planned.state is ShipmentState.ASSIGNED:
        problem = f"{units} can no longer be fulfilled by {planned.location_id}"
        advice = " No other location can supply them."
    else:
        state = planned.state.value.replace("_", " ")
        problem = f"{units} {'is' if unit_count == 1 else 'are'} {state} at {planned.location_id}"
        advice = " Find out whether the parcel can still leave."
    sentence = f"{problem}: {stranded.reason}.{advice}"
    return replace(
        with_order_facts(Incident(LOCATION_UNAVAILABLE, str(planned.id), sentence), record, catalog),
        location=catalog.locations.get(planned.location_id),
        location_id=planned.location_id,
        shipment_id=planned.id,
        sku=skus[0] if len(skus) == 1 else None,
    )
