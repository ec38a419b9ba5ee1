"""What locations do with shipments, each move in one transaction: lock, read, move, what follows, write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from uuid import UUID

from sqlalchemy import Uuid, select

from policies.policy import PolicySet
from policies.shipments import Move
from service import aftermath, answers, catalogue, levels, orders, reassigning, requests, returns, stock_effects
from service.catalogue import CatalogueCache
from service.database import Connection, Database, Statement, parameter
from service.doings import Doings
from service.errors import NotFound
from service.fulfilment_requests import Return, ShipmentMove
from service.metrics import Metrics
from service.requests import Asked
from service.shipment_moves import Step, distrusted, effect_of, make
from service.surroundings import scene
from service.tables import shipment
from truestock.v1 import allocation_service_pb2 as allocation_pb

_ALLOCATION_OF = Statement(select(shipment.c.allocation_id).where(shipment.c.id == parameter("id", Uuid)))

Work = Callable[[Connection], Awaitable[tuple[allocation_pb.Allocation, Doings]]]


class Fulfilment:
    """Moves of shipments, and returns. Never shed: what happened has happened."""

    def __init__(
        self,
        database: Database,
        cache: CatalogueCache,
        metrics: Metrics,
        new_id: Callable[[], UUID],
        policies: Callable[[], PolicySet],
    ) -> None:
        """`policies` gives the rules in force."""
        self._database = database
        self._cache = cache
        self._metrics = metrics
        self._new_id = new_id
        self._policies = policies

    async def move(self, wanted: ShipmentMove, asked: Asked) -> allocation_pb.Allocation:
        """The order after a move of one of its shipments. Raises NotFound, WrongState, TooManyUnits."""
        policy_set = self._policies()

        async def work(connection: Connection) -> tuple[allocation_pb.Allocation, Doings]:
            row = await _ALLOCATION_OF.row(connection, id=wanted.shipment_id)
            if row is None:
                raise _no_shipment(wanted.shipment_id)
            doings, locked = await self._open(connection, row["allocation_id"])
            step = await self._step(connection, doings, locked, wanted=wanted, asked=asked, policy_set=policy_set)
            if wanted.move is Move.REASSIGN:
                reassigning.reassign(step)
            else:
                make(step)
                await levels.distrust(connection, doings.book, distrusted(step))
            await stock_effects.keep(connection, step.effects)
            return await self._end(connection, doings, row["allocation_id"], policy_set)

        return await self._once(f"shipment_{wanted.move}", asked, work)

    async def take_back(self, wanted: Return, asked: Asked) -> allocation_pb.Allocation:
        """The order after units of it came back. Raises NotFound, TooManyUnits."""
        policy_set = self._policies()
        event_id = wanted.event_id or str(asked.claim.id)

        async def work(connection: Connection) -> tuple[allocation_pb.Allocation, Doings]:
            if wanted.location_id and await catalogue.missing_locations(connection, [wanted.location_id]):
                raise NotFound("location", {"location_id": wanted.location_id})
            place = wanted.location_id or None
            doings, locked = await self._open(connection, wanted.allocation_id, place)
            record = doings.records[wanted.allocation_id]
            shipment_ids = [made.id for made in record.shipments]
            heard = await stock_effects.heard(connection, shipment_ids, returns.RETURNED, event_id)
            counted = await self._counted(connection, locked, wanted)
            effects = returns.take_back(doings, record, wanted, event_id, heard=heard, is_counted=counted)
            await stock_effects.keep(connection, effects)
            return await self._end(connection, doings, wanted.allocation_id, policy_set)

        return await self._once("return", asked, work)

    async def _once(self, operation: str, asked: Asked, work: Work) -> allocation_pb.Allocation:
        answer, doings = await requests.once(self._database, operation, asked, allocation_pb.Allocation, work)
        if doings is not None:
            doings.count(self._metrics)
        return answer

    async def _open(
        self, connection: Connection, allocation_id: UUID, new_place: str | None = None
    ) -> tuple[Doings, set[tuple[str, str]]]:
        """The order and the stock of its products, locked; with a level at a place where there may be none yet."""
        if not await orders.lock(connection, [allocation_id]):
            advice = "look it up by its order with GetAllocation"
            raise NotFound("allocation", {"allocation_id": str(allocation_id)}, advice)
        skus = await orders.line_skus(connection, [allocation_id])
        if new_place:
            known = skus - await catalogue.missing_products(connection, skus)
            await levels.ensure(connection, {(sku, new_place) for sku in known})
        locked = await levels.lock(connection, skus)
        doings = Doings(await levels.open_book(connection, locked, self._new_id))
        doings.know((await orders.read(connection, [allocation_id])).values())
        return doings, locked

    async def _step(
        self,
        connection: Connection,
        doings: Doings,
        locked: set[tuple[str, str]],
        *,
        wanted: ShipmentMove,
        asked: Asked,
        policy_set: PolicySet,
    ) -> Step:
        (record,) = doings.records.values()
        made = next((one for one in record.shipments if one.id == wanted.shipment_id), None)
        if made is None:
            raise _no_shipment(wanted.shipment_id)
        event_id = wanted.event_id or str(asked.claim.id)
        effect = effect_of(wanted.move)
        heard = await stock_effects.heard(connection, [made.id], effect, event_id) if effect else set()
        known = await scene(connection, self._cache, policy_set, {line.sku for line in record.lines})
        return Step(
            asked=wanted,
            event_id=event_id,
            doings=doings,
            surroundings=known.of(record.channel_id),
            record=record,
            shipment=made,
            heard=heard,
            counted=await self._counted(connection, locked, wanted),
        )

    async def _counted(
        self, connection: Connection, locked: Iterable[tuple[str, str]], wanted: ShipmentMove | Return
    ) -> dict[tuple[str, str], bool]:
        """By level: whether a count has in already what happened at the event's time."""
        if wanted.event_time is None:
            return {}
        anchors = await levels.anchors(connection, set(locked))
        return {key: wanted.event_time <= anchor.time for key, anchor in anchors.items()}

    async def _end(
        self, connection: Connection, doings: Doings, allocation_id: UUID, policy_set: PolicySet
    ) -> tuple[allocation_pb.Allocation, Doings]:
        await aftermath.follow(connection, doings, self._cache, policy_set)
        await doings.write(connection)
        return answers.allocation(doings.records[allocation_id], doings.book.now), doings


def _no_shipment(shipment_id: UUID) -> NotFound:
    advice = "it may have been planned anew: look at its order with GetAllocation"
    return NotFound("shipment", {"shipment_id": str(shipment_id)}, advice)
