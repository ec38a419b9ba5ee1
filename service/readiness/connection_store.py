"""What connectors last said of their accounts, one row for each channel that a connector feeds."""

from __future__ import annotations

import asyncpg
from sqlalchemy import LargeBinary, Text, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from service.database.database import Connection, Statement, parameter
from service.database.tables import Moment, channel_connection

_row = channel_connection.c
_insert = insert(channel_connection).values(
    channel_id=parameter("channel_id", Text),
    account=parameter("account", Text),
    report_time=func.statement_timestamp(),
    look_time=parameter("look_time", Moment),
    content=parameter("content", LargeBinary),
    shop=parameter("shop", LargeBinary),
)
_UPSERT = Statement(
    _insert.on_conflict_do_update(
        index_elements=["channel_id"],
        set_={
            "account": _insert.excluded.account,
            "report_time": _insert.excluded.report_time,
            "content": _insert.excluded.content,
            "look_time": func.coalesce(_insert.excluded.look_time, _row.look_time),
            "shop": func.coalesce(_insert.excluded.shop, _row.shop),
        },
    )
)
_of_channel = _row.channel_id == parameter("channel_id", Text)
_READ = Statement(select(channel_connection).where(_of_channel))
_DELETE = Statement(delete(channel_connection).where(_of_channel).returning(_row.channel_id))


async def upsert(connection: Connection, values: dict[str, object]) -> None:
    """Replaces what a connector said; its last look at the shop stays where `look_time` and `shop` are None."""
    await _UPSERT.run(connection, **values)


async def read(connection: Connection, channel_id: str) -> asyncpg.Record | None:
    """What the channel's connector last said; None if no connector feeds the channel."""
    rows = await _READ.rows(connection, channel_id=channel_id)
    return rows[0] if rows else None


async def remove(connection: Connection, channel_id: str) -> bool:
    """Forgets what the channel's connector said; whether there was one."""
    return bool(await _DELETE.rows(connection, channel_id=channel_id))
