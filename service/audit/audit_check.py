"""Checks the audit log: computes the hash chain again over all events, and finds the first broken link."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg
from sqlalchemy import BigInteger, Integer, func, literal_column, select

from service.audit import chain
from service.audit.chain import FIRST_HASH, SEALED_COLUMNS
from service.audit.seal_store import ChainEnd
from service.audit.signing import PublicKeys
from service.background import Turn
from service.database.database import Connection, Statement, parameter
from service.database.tables import audit_anchor, audit_event, audit_seal, audit_unsealed

BATCH = 200
"""Seals that are read and hashed at a time: about as long as one turn of work takes."""

_event, _seal, _anchor = audit_event.c, audit_seal.c, audit_anchor.c
_ANCHORS = Statement(select(audit_anchor).order_by(_anchor.number))
_LINKS = Statement(
    select(
        *(_seal.position, _seal.event_id, _seal.hash, _seal.seal_time, _seal.signature),
        *(_event[name] for name in SEALED_COLUMNS),
    )
    .select_from(audit_seal.outerjoin(audit_event, _event.id == _seal.event_id))
    .where(_seal.position > parameter("after", BigInteger))
    .order_by(_seal.position)
    .limit(parameter("count", Integer))
)
_FIRST_POSITION = Statement(select(func.min(_seal.position).label("position")))
_AT = Statement(select(_seal.hash).where(_seal.position == parameter("position", BigInteger)))
_sealed = select(literal_column("1")).where(_seal.event_id == _event.id).exists()
_waits = select(literal_column("1")).where(audit_unsealed.c.event_id == _event.id).exists()
_STRANGE = Statement(select(_event.id).where(~_sealed, ~_waits).order_by(_event.id).limit(literal_column("1")))
_known = select(literal_column("1")).where(_event.id == audit_unsealed.c.event_id).exists()
_LOST = Statement(
    select(audit_unsealed.c.event_id).where(~_known).order_by(audit_unsealed.c.event_id).limit(literal_column("1"))
)
_WAITING = Statement(
    select(func.count().label("count"), func.min(_event.event_time).label("oldest"))
    .select_from(audit_unsealed.join(audit_event, _event.id == audit_unsealed.c.event_id))
    .where(~_sealed)
)


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a check found. `problem` is the first broken link; empty if there is none.

    `end` is the last seal that is right. `deleted_count` events were deleted because their retention had ended, and
    `unsealed_count` are not sealed yet, the oldest of them since `unsealed_since`. `is_signed` says that the last seal
    was signed by one of the keys.
    """

    problem: str
    end: ChainEnd
    event_count: int = 0
    deleted_count: int = 0
    unsealed_count: int = 0
    unsealed_since: datetime | None = None
    is_signed: bool = False


class _Broken(Exception):
    """The first broken link. The message names it."""


async def check(
    connection: Connection,
    keys: PublicKeys,
    *,
    known: ChainEnd | None = None,
    start: ChainEnd | None = None,
) -> AuditReport:
    """Checks the log in one snapshot, which locks nothing.

    Signatures are checked if there are `keys`. `known` is the end of an earlier check, which the chain must still have.
    `start` is a seal up to which another check has found the events right; they are not read again, and events without
    a seal are not looked for.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await _Check(connection, keys).run(known, start)


class _Check:
    def __init__(self, connection: Connection, keys: PublicKeys) -> None:
        self._connection = connection
        self._keys = keys
        self._end = ChainEnd(0, FIRST_HASH)
        self._start = self._end
        self._event_count = 0
        self._is_signed = False

    async def run(self, known: ChainEnd | None, start: ChainEnd | None) -> AuditReport:
        waiting = await _WAITING.row(self._connection)
        assert waiting is not None
        problem = ""
        try:
            await self._read_anchors()
            for end in (known, start):
                if end is not None:
                    await self._find(end)
            if start is not None and start.position > self._end.position:
                self._end = start
            await self._follow_chain()
            if start is None:
                await self._find_unsealed()
        except _Broken as broken:
            problem = str(broken)
        return AuditReport(
            problem,
            self._end,
            self._event_count,
            self._start.position,
            waiting["count"],
            waiting["oldest"],
            self._is_signed,
        )

    async def _read_anchors(self) -> None:
        """Begins after the last anchor, before which all events were deleted."""
        last: asyncpg.Record | None = None
        for number, row in enumerate(await _ANCHORS.rows(self._connection), 1):
            if row["number"] != number:
                raise _Broken(f"anchor {number} is missing")
            values = (row[name] for name in ("number", "position", "hash", "event_time", "anchor_time"))
            if self._keys.keys and not self._keys.have_signed(chain.signed_anchor(*values), row["signature"]):
                raise _Broken(f"anchor {number}, after event {row['position']:,}, is not signed by a given key")
            if last is not None and row["position"] <= last["position"]:
                raise _Broken(f"anchor {number} does not come after anchor {number - 1}")
            last = row
        if last is not None:
            self._start = self._end = ChainEnd(last["position"], last["hash"])
        first = await _FIRST_POSITION.row(self._connection)
        if first is not None and first["position"] is not None and first["position"] <= self._start.position:
            raise _Broken(f"seal {first['position']:,} is there although anchor {last and last['number']} deleted it")

    async def _find(self, end: ChainEnd) -> None:
        """Raises _Broken unless the chain has this seal, or an anchor has deleted it."""
        if end.position < self._start.position:
            return
        if end.position == self._start.position:
            digest = self._start.digest
        else:
            row = await _AT.row(self._connection, position=end.position)
            if row is None:
                raise _Broken(f"seal {end.position:,}, which was there before, is missing: the log was cut")
            digest = row["hash"]
        if digest != end.digest:
            raise _Broken(f"seal {end.position:,} is another one than before")

    async def _follow_chain(self) -> None:
        turn = Turn()
        while rows := await _LINKS.rows(self._connection, after=self._end.position, count=BATCH):
            for row in rows:
                self._check_link(row)
            await turn.end_if_long()
        if self._keys.keys and self._event_count and not self._is_signed:
            raise _Broken(f"seal {self._end.position:,}, the last one, is not signed: the service had no audit key")

    def _check_link(self, row: asyncpg.Record) -> None:
        position = self._end.position + 1
        if row["position"] != position:
            raise _Broken(f"seal {position:,} is missing")
        name = f"event {row['event_id']:,} (seal {position:,})"
        if row["id"] is None:
            raise _Broken(f"{name} is missing")
        if chain.seal_hash(self._end.digest, position, row["seal_time"], row) != row["hash"]:
            raise _Broken(f"{name}, or its seal, was changed")
        self._is_signed = False
        if row["signature"] is not None and self._keys.keys:
            if not self._keys.have_signed(chain.signed_seal(position, row["hash"]), row["signature"]):
                raise _Broken(f"{name} is sealed with a signature that is not of a given key")
            self._is_signed = True
        self._event_count += 1
        self._end = ChainEnd(position, row["hash"])

    async def _find_unsealed(self) -> None:
        """Raises _Broken for an event that the service did not write, or that was deleted before it was sealed."""
        strange = await _STRANGE.row(self._connection)
        if strange is not None:
            raise _Broken(f"event {strange['id']:,} has no seal and does not wait for one")
        lost = await _LOST.row(self._connection)
        if lost is not None:
            raise _Broken(f"event {lost['event_id']:,}, which waits to be sealed, is missing")
