"""Reads stored decisions: puts together what `decision_batch` took apart."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, FromClause, LargeBinary, Uuid, func, select, update

from service.database.compression import restored
from service.database.database import Connection, Statement, parameter
from service.database.tables import decision, decision_batch, decision_catalog
from service.decisions.decision_batch import CHANGE, ID_PREFIX, unpacked
from service.decisions.destination_erasure import Erasure
from truestock.v1 import decision_pb2, order_pb2

Row = asyncpg.Record | Mapping[str, Any]

DECISIONS: FromClause = decision.outerjoin(decision_batch, decision_batch.c.id == decision.c.batch_id)
"""Decisions with their batches; those that are stored by value have none."""
POLICY_REVISION: ColumnElement[str] = func.coalesce(decision.c.policy_revision, decision_batch.c.policy_revision)
CATALOG_HASH: ColumnElement[str] = func.coalesce(decision.c.catalog_hash, decision_batch.c.catalog_hash)
EXPLANATION = (decision.c.explanation, decision.c.reference, decision_batch.c.explanations)
"""The columns from which `explanation` reads."""
CONTENT = (
    *EXPLANATION,
    decision.c.inputs,
    decision.c.destination,
    decision.c.erased_destination,
    decision_batch.c.parts,
    func.coalesce(decision.c.software_version, decision_batch.c.software_version).label("software_version"),
)
"""The columns of a decision from which `explanation` and `inputs` read, and the version that made it."""

_FIND = Statement(
    select(
        decision.c.id,
        decision.c.allocation_id,
        decision.c.create_time,
        POLICY_REVISION.label("policy_revision"),
        *CONTENT,
        decision_catalog.c.content.label("catalog_content"),
    )
    .select_from(DECISIONS.outerjoin(decision_catalog, decision_catalog.c.hash == CATALOG_HASH))
    .where(decision.c.id == parameter("id", Uuid))
)


_ERASE = Statement(
    update(decision)
    .where(decision.c.id == parameter("decision_id", Uuid))
    .values(
        destination=None,
        erased_destination=parameter("kept", LargeBinary),
        # One that says nothing of a destination may be shared with other decisions.
        explanation=func.coalesce(parameter("explanation", LargeBinary), decision.c.explanation),
    )
)


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A stored decision. `inputs` is None in a summary."""

    id: UUID
    allocation_id: UUID
    policy_revision: str
    software_version: str
    explanation: bytes
    inputs: decision_pb2.DecisionInputs | None
    decide_time: datetime


async def find(connection: Connection, decision_id: UUID) -> StoredDecision | None:
    """The decision of this id; None if there is none, or if it was purged."""
    row = await _FIND.row(connection, id=decision_id)
    if row is None:
        return None
    found = inputs(row)
    if found is not None and row["catalog_content"] is not None:
        found.MergeFromString(row["catalog_content"])
    return StoredDecision(
        row["id"],
        row["allocation_id"],
        row["policy_revision"],
        row["software_version"],
        explanation(row["id"], row),
        found if row["catalog_content"] is not None else None,
        row["create_time"],
    )


async def erase_destinations(connection: Connection, erasures: Mapping[UUID, Erasure]) -> None:
    """Puts what stays of destinations in their place, in decisions of locked orders."""
    rows = [
        {
            "decision_id": id,
            "kept": None if x.destination is None else x.destination.SerializeToString(deterministic=True),
            "explanation": x.explanation if x.is_rewritten else None,
        }
        for id, x in sorted(erasures.items())
    ]
    await _ERASE.run_for_each(connection, rows)


def with_batch(row: Row, batch: Row | None) -> Mapping[str, Any]:
    """A row of `decision` with the columns CONTENT, given the row of its batch; None if it is stored by value."""
    if batch is None:
        return {**dict(row), "explanations": None, "parts": None}
    return {**dict(row), **{name: batch[name] for name in ("explanations", "parts", "software_version")}}


def explanation(decision_id: UUID, row: Row) -> bytes:
    """The serialized Decision of a row with the columns EXPLANATION."""
    own: bytes | None = row["explanation"]
    if own is not None:
        return own
    (number,) = struct.unpack_from("<i", row["reference"])
    shared: bytes = unpacked(row["explanations"])[number]
    return ID_PREFIX + str(decision_id).encode() + shared


def inputs(row: Row) -> decision_pb2.DecisionInputs | None:
    """The inputs of a row with the columns CONTENT, without the catalog; None in a summary."""
    if row["inputs"] is None:
        return None
    message = decision_pb2.DecisionInputs.FromString(restored(row["inputs"]))
    if row["destination"] is not None:
        message.order.destination.CopyFrom(order_pb2.Destination.FromString(row["destination"]))
    if row["erased_destination"] is not None:
        message.order.erased_destination.CopyFrom(decision_pb2.ErasedDestination.FromString(row["erased_destination"]))
    if row["parts"] is not None:
        _add_shared_inputs(message, row["reference"], unpacked(restored(row["parts"])))
    return message


def _add_shared_inputs(message: decision_pb2.DecisionInputs, reference: bytes, parts: Sequence[bytes]) -> None:
    """Adds the moment, and each product with its levels as its base has them, but for the levels that differ."""
    message.MergeFromString(parts[0])
    _, base_count = struct.unpack_from("<2i", reference)
    numbers = struct.unpack_from(f"<{base_count}i", reference, 8)
    bases = [decision_pb2.DecisionInputs.FromString(parts[number]) for number in numbers]
    for position, level_position, *figures in CHANGE.iter_unpack(reference[8 + 4 * base_count :]):
        level = bases[position].levels[level_position]
        level.on_hand_count, level.unavailable_count, level.held_count, level.allocated_count = figures
    for base in bases:
        message.MergeFrom(base)
