"""Drops personal data of orders: the retention after they are finished, or as soon as they are if somebody asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from service.background import FIRST_PURGE_SECONDS, every
from service.database import monthly_partitions
from service.database.database import Connection, Database
from service.decisions import stored_decision
from service.decisions.decision_replay import DecisionReplayer
from service.decisions.destination_erasure import Erasure
from service.orders import order_store
from service.privacy import personal_data_store, stored_requests

ASKED_SECONDS = 60.0
"""How often orders are looked for that somebody asked to forget and that have been finished since."""
FINISHED_SECONDS = 3_600.0
DROPPED_ORDERS = 50
"""Orders per transaction."""

_FIRST = UUID(int=0)


class PersonalDataDrop:
    """Each service on a database may run one. What the data led to stays: plans, units, times, decisions."""

    def __init__(self, database: Database, retention: timedelta) -> None:
        self._database = database
        self._retention = retention
        self._replayer = DecisionReplayer(database)

    async def run(self, stop: asyncio.Event) -> None:
        """Drops until `stop` is set."""
        await asyncio.gather(
            every(ASKED_SECONDS, stop, self.drop_asked),
            every(FINISHED_SECONDS, stop, self.drop_finished, first_after=FIRST_PURGE_SECONDS),
        )

    async def drop_finished(self) -> None:
        """Drops the data of all orders that have been finished for the retention."""
        before, after = monthly_partitions.first_id(datetime.now(UTC) - self._retention), _FIRST
        while True:
            page = partial(
                personal_data_store.finished,
                retention=self._retention,
                after=after,
                before=before,
                count=DROPPED_ORDERS,
            )
            ids = await self._database.unlocked("finished_orders", page)
            if not ids:
                return
            await self.drop(ids)
            after = ids[-1]

    async def drop_asked(self) -> None:
        """Drops the data of all orders that somebody asked to forget and that are finished."""
        after = _FIRST
        while True:
            page = partial(personal_data_store.finished_asked, after=after, count=DROPPED_ORDERS)
            ids = await self._database.unlocked("orders_to_forget", page)
            if not ids:
                return
            await self.drop(ids)
            after = ids[-1]

    async def drop(self, ids: Sequence[UUID]) -> None:
        """Drops the data of those of these orders that are finished, and old enough or asked to be forgotten."""
        # Decided again before any order is locked. A finished order gets no new decision, or is not finished any more.
        erasures = await self._erasures(ids)

        async def work(connection: Connection) -> list[UUID]:
            locked = await order_store.lock(connection, ids)
            finished = await personal_data_store.still_finished(connection, locked, self._retention)
            of_finished = {id: erasure for order_id in finished for id, erasure in erasures[order_id].items()}
            await stored_decision.erase_destinations(connection, of_finished)
            asked = [id for id, is_asked in finished.items() if is_asked]
            if asked:
                await personal_data_store.drop_texts(connection, asked)
            await personal_data_store.drop_destinations(connection, list(finished))
            return asked

        for id in await self._database.transaction("drop_personal_data", work):
            await stored_requests.drop(self._database, id)
            await self._database.transaction("forgotten", partial(personal_data_store.note_forgotten, id=id))

    async def _erasures(self, ids: Sequence[UUID]) -> dict[UUID, dict[UUID, Erasure]]:
        """What stays of each decision that still has a destination, by order and decision."""
        erasures: dict[UUID, dict[UUID, Erasure]] = {id: {} for id in ids}
        read = partial(personal_data_store.decision_ids, ids=ids)
        for decision_id in await self._database.unlocked("decisions_of_orders", read):
            stored = await self._database.unlocked(
                "decision_to_erase", partial(stored_decision.find, decision_id=decision_id)
            )
            if stored is None or (stored.inputs is not None and stored.inputs.order.HasField("erased_destination")):
                continue
            if stored.allocation_id in erasures:
                erasures[stored.allocation_id][decision_id] = await self._replayer.erasure(stored)
        return erasures
