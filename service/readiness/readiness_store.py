"""The answers of checks in PostgreSQL: the last of each question, and the last checks of each channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from sqlalchemy import ARRAY, Integer, Text, case, delete, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from policies.readiness.answers import Answer, Result, worst
from service import limits
from service.database.database import Columns, Connection, Statement, parameter, transposed, unnested
from service.database.tables import Moment, readiness_answer, readiness_check

_COLUMNS: Columns = {"question": Text, "result": Text, "last_pass_time": Moment}
_answer = readiness_answer.c
_new = unnested("new", **_COLUMNS)
_insert = upsert(readiness_answer).from_select(
    ["channel_id", "question", "result", "since_time", "last_pass_time"],
    select(
        parameter("channel_id", Text), _new.c.question, _new.c.result, parameter("now", Moment), _new.c.last_pass_time
    ).order_by(_new.c.question),
)
_UPSERT = Statement(
    _insert.on_conflict_do_update(
        index_elements=["channel_id", "question"],
        set_={
            "result": _insert.excluded.result,
            "since_time": case(
                (_answer.result == _insert.excluded.result, _answer.since_time), else_=_insert.excluded.since_time
            ),
            "last_pass_time": func.coalesce(_insert.excluded.last_pass_time, _answer.last_pass_time),
        },
    ).returning(_answer.question, _answer.since_time, _answer.last_pass_time)
)
_INSERT_CHECK = Statement(
    insert(readiness_check).values(
        channel_id=parameter("channel_id", Text),
        check_time=parameter("now", Moment),
        result=parameter("result", Text),
        policy_revision=parameter("policy_revision", Text),
        failed=parameter("failed", ARRAY(Text)),
        warned=parameter("warned", ARRAY(Text)),
    )
)
_of_channel = readiness_check.c.channel_id == parameter("channel_id", Text)
_NEWEST = (
    select(readiness_check.c.id)
    .where(_of_channel)
    .order_by(readiness_check.c.id.desc())
    .limit(parameter("count", Integer))
)
_PRUNE = Statement(delete(readiness_check).where(_of_channel, readiness_check.c.id.not_in(_NEWEST)))
_CHECKS = Statement(
    select(readiness_check).where(_of_channel).order_by(readiness_check.c.id.desc()).limit(parameter("count", Integer))
)


@dataclass(frozen=True, slots=True)
class AnswerHistory:
    """Since when an answer has its result, and when its question last passed; None if never."""

    since_time: datetime
    last_pass_time: datetime | None


async def record(
    connection: Connection, channel_id: str, now: datetime, policy_revision: str, answers: Sequence[Answer]
) -> Mapping[str, AnswerHistory]:
    """Keeps a check, and forgets all but the newest READINESS_CHECKS of its channel; the history by question."""
    rows = [(x.question.name, x.result.value, now if x.result is Result.PASS else None) for x in answers]
    kept = await _UPSERT.rows(connection, channel_id=channel_id, now=now, **transposed(list(_COLUMNS), rows))
    await _INSERT_CHECK.run(
        connection,
        channel_id=channel_id,
        now=now,
        result=worst(x.result for x in answers).value,
        policy_revision=policy_revision,
        failed=[x.question.name for x in answers if x.result is Result.FAIL],
        warned=[x.question.name for x in answers if x.result is Result.WARN],
    )
    await _PRUNE.run(connection, channel_id=channel_id, count=limits.READINESS_CHECKS)
    return {row["question"]: AnswerHistory(row["since_time"], row["last_pass_time"]) for row in kept}


async def checks(connection: Connection, channel_id: str) -> list[asyncpg.Record]:
    """The checks of a channel that are kept, newest first."""
    return await _CHECKS.rows(connection, channel_id=channel_id, count=limits.READINESS_CHECKS)
