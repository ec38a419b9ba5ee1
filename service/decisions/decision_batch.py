"""The decisions of one transaction as rows: what they share is stored once, and each refers to it.

Decisions by the same rules and in the same catalog share a row of `decision_batch`. It has each explanation once, and
each product with its stock levels as of the first decision about it, its base. A decision has its order, and the
figures of the levels that other orders of the transaction changed since. `stored_decision` puts them together again.

A decision that has nobody to share with is stored by value, which takes fewer bytes than a batch of one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import attrgetter
from typing import Final
from uuid import UUID

from sqlalchemy import LargeBinary, Text, Uuid

from policies.domain.model import StockLevel
from service import limits
from service.background import let_others_run
from service.database.columns import Moment
from service.database.compression import compressed
from service.database.database import Columns
from service.decisions.decision_inputs import destination_message
from service.decisions.decision_log import (
    DecisionInputs,
    ProductLevels,
    StoredCatalog,
    moment_bytes,
    order_bytes,
    product_levels_bytes,
)
from service.decisions.destination_erasure import tells_destination
from service.version import VERSION
from truestock.v1 import decision_pb2

Row = tuple[object, ...]

DECISION_COLUMNS: Columns = {
    "id": Uuid,
    "allocation_id": Uuid,
    "batch_id": Uuid,
    "policy_revision": Text,
    "software_version": Text,
    "catalog_hash": Text,
    "explanation": LargeBinary,
    "inputs": LargeBinary,
    "destination": LargeBinary,
    "reference": LargeBinary,
    "create_time": Moment,
}
BATCH_COLUMNS: Columns = {
    "id": Uuid,
    "policy_revision": Text,
    "software_version": Text,
    "catalog_hash": Text,
    "explanations": LargeBinary,
    "parts": LargeBinary,
}
"""The columns of the rows below, in their order."""

ID_PREFIX = b"\x0a\x24"
"""Begins an explanation: the tag and the length of its id, whose 36 characters follow."""
ID_BYTES = len(ID_PREFIX) + 36
OWN_EXPLANATION = -1
"""In a reference: the explanation is stored with the decision."""
CHANGE = struct.Struct("<6i")
"""A changed level: which of the decision's products, which of its levels, and the level's four figures."""
_FIGURES = ("on_hand", "unavailable", "held", "allocated")
_figures = attrgetter(*_FIGURES)
_besides_figures = attrgetter(*(x.name for x in fields(StockLevel) if x.name not in _FIGURES))
"""Everything else of a level. Where it differs, a level is not stored as a change."""


@dataclass(slots=True, unsafe_hash=True)
class DecisionWrite:
    """A decision about an order with its inputs, to be written; one that refused a hold `is_summary`."""

    id: Final[UUID | None]
    allocation_id: Final[UUID]
    decision: Final[decision_pb2.Decision]
    inputs: Final[DecisionInputs]
    is_summary: Final[bool]


@dataclass(slots=True)
class DecisionRows:
    """Rows of `decision` and `decision_batch`, with DECISION_COLUMNS and BATCH_COLUMNS, and catalogs to store."""

    decisions: list[Row] = field(default_factory=list)
    batches: list[Row] = field(default_factory=list)
    catalogs: list[StoredCatalog] = field(default_factory=list)


def stored_rows(decided: Iterable[DecisionWrite], now: datetime, new_id: Callable[[], UUID]) -> DecisionRows:
    """The rows of the decisions of one transaction. Sets the `byte_count` of their inputs."""
    groups: dict[tuple[str, str], list[DecisionWrite]] = {}
    for write in decided:
        let_others_run()
        catalog = write.inputs.snapshot.stored_catalog()
        groups.setdefault((write.decision.policy_revision, catalog.hash), []).append(write)
    rows = DecisionRows()
    for (revision, _), writes in groups.items():
        catalog = writes[0].inputs.snapshot.stored_catalog()
        fits = len(catalog.content) <= limits.DECISION_CATALOG_BYTES
        if fits:
            rows.catalogs.append(catalog)
        if len(writes) == 1:
            rows.decisions.append(_by_value(writes[0], catalog if fits else None, now))
            continue
        # The id is newer than those of the decisions, so that no decision outlives its batch in an earlier month.
        batch = _Batch(new_id(), now)
        rows.decisions.extend(batch.row(write, keeps_inputs=fits) for write in writes)
        rows.batches.append(
            (
                batch.id,
                revision,
                VERSION,
                catalog.hash if fits else None,
                packed(batch.explanations),
                packed(batch.parts),
            )
        )
    return rows


def packed(parts: Sequence[bytes]) -> bytes:
    """Parts as one value: their number, their lengths, and they themselves."""
    return struct.pack(f"<{len(parts) + 1}i", len(parts), *map(len, parts)) + b"".join(parts)


def unpacked(content: bytes) -> list[bytes]:
    """The parts of a value that `packed` made."""
    (count,) = struct.unpack_from("<i", content)
    start, parts = 4 * (count + 1), []
    for length in struct.unpack_from(f"<{count}i", content, 4):
        parts.append(content[start : start + length])
        start += length
    return parts


def _by_value(write: DecisionWrite, catalog: StoredCatalog | None, now: datetime) -> Row:
    explanation = write.decision.SerializeToString(deterministic=True)
    inputs = None if write.is_summary or catalog is None else write.inputs.by_value()
    # Levels of one product differ little, so this is a quarter of the bytes. In a batch they are stored once anyway.
    inputs = None if inputs is None else compressed(inputs)
    destination = None if inputs is None else _destination_bytes(write)
    write.inputs.byte_count = len(explanation) + len(inputs or b"") + len(destination or b"")
    return (
        *(write.id, write.allocation_id, None, write.decision.policy_revision, VERSION),
        *(catalog.hash if catalog and inputs is not None else None, explanation, inputs, destination, None, now),
    )


def _destination_bytes(write: DecisionWrite) -> bytes | None:
    message = destination_message(write.inputs.order.destination)
    return None if message is None else message.SerializeToString(deterministic=True)


@dataclass(frozen=True, slots=True)
class _Base:
    """A product with its levels, stored as the part `number` of the batch."""

    number: int
    stock: ProductLevels
    byte_count: int


class _Batch:
    """What the decisions of a batch share, collected while their rows are made."""

    def __init__(self, id: UUID, now: datetime) -> None:
        self.id = id
        self.explanations: list[bytes] = []
        self.parts: list[bytes] = [moment_bytes(now)]
        self._now = now
        self._bases: dict[str, _Base] = {}
        self._explanation_numbers: dict[bytes, int] = {}
        self._explanation_bytes = 0
        self._part_bytes = len(self.parts[0])

    def row(self, write: DecisionWrite, *, keeps_inputs: bool) -> Row:
        """The row of a decision; with what it adds to the batch."""
        shared_bytes = self._explanation_bytes + self._part_bytes
        number, explanation = self._explanation(write.decision.SerializeToString(deterministic=True))
        inputs = destination = None
        reference = [number]
        if keeps_inputs and not write.is_summary:
            inputs = order_bytes(write.inputs)
            stock_reference = self._stock_reference(write.inputs, limits.DECISION_BYTES - len(inputs))
            if stock_reference is None:
                inputs = None
            else:
                reference += stock_reference
                destination = _destination_bytes(write)
        packed_reference = struct.pack(f"<{len(reference)}i", *reference)
        own = (explanation, inputs, destination, packed_reference)
        added_bytes = self._explanation_bytes + self._part_bytes - shared_bytes
        write.inputs.byte_count = added_bytes + sum(len(part) for part in own if part is not None)
        return (write.id, write.allocation_id, self.id, None, None, None, *own, self._now)

    def _explanation(self, explanation: bytes) -> tuple[int, bytes | None]:
        """The number of an explanation in the batch and None, or OWN_EXPLANATION and the explanation."""
        # What tells a destination is stored with its own decision, where it can be erased without others.
        if not explanation.startswith(ID_PREFIX) or tells_destination(explanation):
            return OWN_EXPLANATION, explanation
        shared = explanation[ID_BYTES:]
        number = self._explanation_numbers.get(shared)
        if number is None:
            # Orders are read with their explanations, so a batch may not have too many of them.
            if self._explanation_bytes + len(shared) > limits.SHARED_EXPLANATION_BYTES:
                return OWN_EXPLANATION, explanation
            number = self._explanation_numbers[shared] = len(self.explanations)
            self.explanations.append(shared)
            self._explanation_bytes += len(shared)
        return number, None

    def _stock_reference(self, inputs: DecisionInputs, remaining_bytes: int) -> list[int] | None:
        """The numbers of the bases of the decision's products and the levels that differ; None if that is too much."""
        numbers: list[int] = []
        changes: list[int] = []
        for position, stock in enumerate(inputs.stock):
            base = self._bases.get(stock.sku)
            changed = None if base is None else _changed_levels(base, stock)
            if base is None or changed is None:
                base, changed = self._add_base(stock, remaining_bytes), []
            if base is None:
                return None
            remaining_bytes -= base.byte_count
            numbers.append(base.number)
            for level_position, level in changed:
                changes += (position, level_position, *_figures(level))
        return None if remaining_bytes < 0 else [len(numbers), *numbers, *changes]

    def _add_base(self, stock: ProductLevels, remaining_bytes: int) -> _Base | None:
        content = product_levels_bytes(stock, remaining_bytes)
        if content is None:
            return None
        base = self._bases[stock.sku] = _Base(len(self.parts), stock, len(content))
        self.parts.append(content)
        self._part_bytes += len(content)
        return base


def _changed_levels(base: _Base, stock: ProductLevels) -> list[tuple[int, StockLevel]] | None:
    """The levels with other figures than in the base; None if a new base is needed, or takes fewer bytes."""
    if base.stock.product is not stock.product or len(base.stock.levels) != len(stock.levels):
        return None
    pairs = zip(base.stock.levels, stock.levels, strict=True)
    # Levels are never changed, only replaced, so one that is the same object has the same figures.
    changed = [(position, old, new) for position, (old, new) in enumerate(pairs) if old is not new]
    # With n changes an order, the bytes of changes since the base grow with the square of the orders. A new base after
    # as many changes as this root costs about as many bytes as it saves.
    if CHANGE.size * len(changed) ** 2 > 2 * base.byte_count:
        return None
    if not all(_besides_figures(old) == _besides_figures(new) for _, old, new in changed):
        return None
    return [(position, new) for position, _, new in changed]
