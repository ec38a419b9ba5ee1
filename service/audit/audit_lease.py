"""The lease on sealing: one of the services on a database seals at a time."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Interval, Text, Uuid, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import insert

from service.database.database import Connection, Statement, parameter
from service.database.tables import lease

LEASE_SECONDS = 5.0
"""How long after its last seals another service may seal, so that a killed one delays them by no more than this."""

_NAME = "audit seals"
_insert = insert(lease).from_select(
    ["name", "holder", "expire_time"],
    select(
        parameter("name", Text), parameter("holder", Uuid), func.clock_timestamp() + parameter("duration", Interval)
    ),
)
_RENEW = Statement(
    _insert.on_conflict_do_update(
        index_elements=["name"],
        set_={"holder": _insert.excluded.holder, "expire_time": _insert.excluded.expire_time},
        where=or_(lease.c.holder == _insert.excluded.holder, lease.c.expire_time < func.clock_timestamp()),
    ).returning(literal_column("1"))
)


async def is_held(connection: Connection, holder: UUID) -> bool:
    """Gets or renews the lease, and locks it until the transaction ends; False if another service holds it."""
    duration = timedelta(seconds=LEASE_SECONDS)
    return await _RENEW.row(connection, name=_NAME, holder=holder, duration=duration) is not None
