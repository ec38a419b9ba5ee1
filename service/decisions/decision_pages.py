"""Pages of stored decisions that are re-run with the rules of a caller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
from sqlalchemy import Integer, Text, Uuid, func, or_, select, tuple_

from service import limits
from service.database.database import Connection, Database, Statement, any_of, parameter, parameters
from service.database.tables import Moment, allocation, decision, decision_batch, decision_catalog
from service.decisions import stored_decision
from service.decisions.replay_task import ReplayedDecision, ReplayTask
from service.decisions.stored_decision import CATALOG_HASH, DECISIONS, POLICY_REVISION
from service.policy import policy_store
from service.policy.rule_sandbox import RuleSandbox
from truestock.v1 import policy_service_pb2 as policy_pb

_RESTORED_RATIO = 8
"""Bytes of inputs for each byte that is stored of them: levels of one product differ little. A rough upper estimate."""

_decision = decision.c
_is_selected = (
    or_(parameter("id", Uuid).is_(None), _decision.id == parameter("id", Uuid)),
    or_(parameter("since", Moment).is_(None), _decision.create_time >= parameter("since", Moment)),
    or_(parameter("until", Moment).is_(None), _decision.create_time < parameter("until", Moment)),
    or_(
        func.cardinality(parameters("channel_ids", Text)) == 0,
        allocation.c.channel_id == any_of("channel_ids", Text),
    ),
)
_is_after = or_(
    parameter("after_time", Moment).is_(None),
    tuple_(_decision.create_time, _decision.id) > tuple_(parameter("after_time", Moment), parameter("after_id", Uuid)),
)
_PAGE = Statement(
    select(
        _decision.id,
        _decision.create_time,
        _decision.allocation_id,
        _decision.batch_id,
        POLICY_REVISION.label("policy_revision"),
        CATALOG_HASH.label("catalog_hash"),
        allocation.c.channel_id,
        allocation.c.order_id,
        func.coalesce(func.octet_length(_decision.inputs), 0).label("byte_count"),
        func.coalesce(func.octet_length(decision_batch.c.parts), 0).label("batch_byte_count"),
        func.coalesce(func.octet_length(decision_catalog.c.content), 0).label("catalog_byte_count"),
    )
    .select_from(
        DECISIONS.join(allocation, allocation.c.id == _decision.allocation_id).outerjoin(
            decision_catalog, decision_catalog.c.hash == CATALOG_HASH
        )
    )
    .where(*_is_selected, _is_after)
    .order_by(_decision.create_time, _decision.id)
    .limit(parameter("count", Integer))
)
_counted = (
    select(_decision.id)
    .join(allocation, allocation.c.id == _decision.allocation_id)
    .where(*_is_selected)
    .limit(parameter("count", Integer))
    .subquery()
)
_COUNT = Statement(select(func.count().label("count")).select_from(_counted))
_CONTENTS = Statement(select(decision).where(_decision.id == any_of("ids", Uuid)))
_BATCHES = Statement(select(decision_batch).where(decision_batch.c.id == any_of("ids", Uuid)))
_CATALOGS = Statement(select(decision_catalog).where(decision_catalog.c.hash == any_of("hashes", Text)))


@dataclass(frozen=True, slots=True)
class DecisionsPage:
    """Which decisions to re-run with which rule files. `after` is the position after which the page starts."""

    files: dict[str, bytes]
    id: UUID | None
    since: datetime | None
    until: datetime | None
    channel_ids: tuple[str, ...]
    count: int
    after: tuple[datetime, UUID] | None


@dataclass(frozen=True, slots=True)
class ReplayedPage:
    """The response without its token, and the position after its last decision; None on the last page."""

    response: policy_pb.ReplayDecisionsResponse
    position: tuple[datetime, UUID] | None


async def replayed_page(database: Database, sandbox: RuleSandbox, page: DecisionsPage) -> ReplayedPage:
    """Re-runs a page of decisions. Raises RulesTooCostly, Overloaded, NotReady."""
    rows, task, total_count = await database.unlocked("replayed_decisions", lambda connection: _read(connection, page))
    answer = await sandbox.answer("service.decisions.candidate_replay", task.serialize())
    response = policy_pb.ReplayDecisionsResponse.FromString(answer)
    response.total_count = total_count
    for row, comparison in zip(rows, response.comparisons, strict=False):
        comparison.decision_id, comparison.allocation_id = str(row["id"]), str(row["allocation_id"])
        comparison.channel_id, comparison.order_id = row["channel_id"], row["order_id"]
        comparison.decide_time.FromDatetime(row["create_time"])
    compared_count = len(response.comparisons)
    if response.problems or compared_count == len(rows):
        return ReplayedPage(response, None)
    last = rows[compared_count - 1]
    return ReplayedPage(response, (last["create_time"], last["id"]))


async def _read(connection: Connection, page: DecisionsPage) -> tuple[list[asyncpg.Record], ReplayTask, int]:
    """The decisions of a page and those after it, the task for the page, and how many decisions are selected."""
    selected = {"id": page.id, "since": page.since, "until": page.until, "channel_ids": list(page.channel_ids)}
    after_time, after_id = page.after or (None, None)
    # One more than the page has shows whether there is another page.
    rows = await _PAGE.rows(connection, **selected, after_time=after_time, after_id=after_id, count=page.count + 1)
    total_count = 0
    if page.after is None:
        (counted,) = await _COUNT.rows(connection, **selected, count=limits.REPLAYS_COUNTED)
        total_count = counted["count"]
    return rows, await _task(connection, page.files, _within_bounds(rows[: page.count])), total_count


def _within_bounds(rows: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
    """The first decisions that together are not too large and not by too many rules; at least one."""
    chosen: list[asyncpg.Record] = []
    revisions: set[str] = set()
    catalogs: set[str] = set()
    byte_count = 0
    for row in rows:
        # The process gets what is in a batch once for each of its decisions, and a catalog once.
        byte_count += _RESTORED_RATIO * (row["byte_count"] + row["batch_byte_count"])
        byte_count += 0 if row["catalog_hash"] in catalogs else row["catalog_byte_count"]
        revisions.add(row["policy_revision"])
        catalogs.add(row["catalog_hash"])
        if chosen and (byte_count > limits.REPLAY_PAGE_BYTES or len(revisions) > limits.REPLAY_REVISIONS):
            break
        chosen.append(row)
    return chosen


async def _task(connection: Connection, files: dict[str, bytes], rows: Sequence[asyncpg.Record]) -> ReplayTask:
    contents = {row["id"]: row for row in await _CONTENTS.rows(connection, ids=[row["id"] for row in rows])}
    batch_ids = list({row["batch_id"] for row in rows} - {None})
    batches = {row["id"]: row for row in await _BATCHES.rows(connection, ids=batch_ids)} if batch_ids else {}
    catalogs = await _CATALOGS.rows(connection, hashes=_distinct(row["catalog_hash"] for row in rows))
    revisions = _distinct(row["policy_revision"] for row in rows)
    return ReplayTask(
        files,
        tuple(_replayed(row, contents.get(row["id"]), batches.get(row["batch_id"])) for row in rows),
        {revision: await policy_store.files(connection, revision) for revision in revisions},
        {row["hash"]: row["content"] for row in catalogs},
    )


def _replayed(row: asyncpg.Record, content: asyncpg.Record | None, batch: asyncpg.Record | None) -> ReplayedDecision:
    if content is None or (batch is None and row["batch_id"] is not None):
        # It was purged since the page was read.
        return ReplayedDecision(row["id"], row["policy_revision"], "", b"", None, None)
    stored = stored_decision.with_batch(content, batch)
    inputs = stored_decision.inputs(stored)
    return ReplayedDecision(
        row["id"],
        row["policy_revision"],
        stored["software_version"],
        stored_decision.explanation(row["id"], stored),
        None if inputs is None else inputs.SerializeToString(),
        row["catalog_hash"],
    )


def _distinct(values: Iterable[str | None]) -> list[str]:
    return sorted({value for value in values if value is not None})
