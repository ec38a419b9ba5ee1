"""Idempotency keys: a write sent twice with one request id runs once, and a retry gets the stored response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import LargeBinary, Text, Uuid, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert

from service.database.compression import compressed, restored
from service.database.database import Connection, Database, Statement, any_of, parameter, transposed, unnested
from service.database.row_writes import RowWrite
from service.database.tables import request
from service.errors import RequestForgotten, RequestIdReused
from service.rpc.message_differences import differing_field, serialized

Answer = TypeVar("Answer", bound=Message)
Effect = TypeVar("Effect")

_claimed = unnested("claimed", id=Uuid, method=Text, content=LargeBinary)
_CLAIM = Statement(
    insert(request)
    .from_select(
        ["id", "method", "content"],
        select(_claimed.c.id, _claimed.c.method, _claimed.c.content).order_by(_claimed.c.id),
    )
    # The insert of an id waits for any open transaction that has inserted the same id. A retry therefore learns whether
    # the first attempt committed, and two copies of one request never run side by side.
    .on_conflict_do_nothing()
    .returning(request.c.id)
)
_STORED = Statement(
    select(request)
    .where(request.c.id == any_of("ids", Uuid))
    .order_by(request.c.id)
    # The lock writes to the write-ahead log, so this transaction, too, commits only once a synchronous standby has the
    # log up to here. An answer whose first commit was not confirmed may be on this server alone until then.
    .with_for_update(read=True, key_share=True)
)

ANSWERS = RowWrite(
    request,
    {"id": Uuid, "answer": LargeBinary},
    lambda values: update(request).values(answer=values["answer"]).where(request.c.id == values["id"]),
)
"""The responses of claimed requests by id, to be stored in the transaction that runs them."""

RECEIPT = insert(request).values(
    id=parameter("receipt_id", Uuid), method=parameter("method", Text), content=literal_column("''::bytea")
)
"""Writes a row that shows whether a transaction has committed: its parameter `receipt_id` is a new id."""


@dataclass(slots=True, unsafe_hash=True)
class IdempotencyKey:
    """A request id with its method. `content` is the serialized request, empty if the caller gave no id."""

    id: Final[UUID]
    method: Final[str]
    content: Final[bytes]

    @property
    def is_named(self) -> bool:
        """Whether the caller gave the id: only then can the request have run before."""
        return bool(self.content)


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request with its idempotency key."""

    key: IdempotencyKey
    message: Message

    @classmethod
    def of(
        cls, method: str, message: Message, request_id: UUID | None, new_id: Callable[[], UUID]
    ) -> IdempotentRequest:
        """A call without a request id gets a new one, which detects a commit whose confirmation was lost."""
        return cls(IdempotencyKey(request_id or new_id(), method, serialized(message) if request_id else b""), message)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The stored response of a request that ran before."""

    method: str
    content: bytes
    answer: bytes


async def once(
    database: Database,
    operation: str,
    idempotent: IdempotentRequest,
    answer_type: type[Answer],
    work: Callable[[Connection], Awaitable[tuple[Answer, Effect]]],
    *,
    count: Callable[[Effect], None],
) -> Answer:
    """Runs a request in one transaction, or returns the stored response if it ran before.

    `work` returns the response and what the metrics count of it; `count` gets the latter after the commit, unless the
    request ran before this call. Raises RequestIdReused, NotReady, and what `work` raises.
    """
    attempts: list[tuple[Answer, Effect]] = []

    async def attempt(connection: Connection) -> tuple[Answer, Effect | None]:
        stored = (await claim(connection, [idempotent.key])).get(idempotent.key.id)
        if stored is not None:
            check_same_request(idempotent.key, stored, idempotent.message)
            response = answer_type.FromString(stored.answer)
            # If the stored response is of an earlier attempt of this call, whose commit succeeded although its
            # confirmation was lost, its effect has not been counted yet.
            return next((attempted for attempted in attempts if attempted[0] == response), (response, None))
        response, effect = await work(connection)
        await store_answers(connection, {idempotent.key.id: compressed(response.SerializeToString())})
        attempts.append((response, effect))
        return response, effect

    def count_effect(result: tuple[Answer, Effect | None]) -> None:
        effect = result[1]
        if effect is not None:
            count(effect)

    return (await database.transaction(operation, attempt, count_effect))[0]


async def claim(connection: Connection, keys: Sequence[IdempotencyKey]) -> dict[UUID, StoredAnswer]:
    """Claims request ids, sorted; returns the stored responses of those that ran before.

    Waits for any open transaction that has claimed the same id, so the outcome of a lost commit is known.
    """
    rows = [(key.id, key.method, key.content) for key in keys]
    claimed = {row["id"] for row in await _CLAIM.rows(connection, **transposed(["id", "method", "content"], rows))}
    repeated = [key.id for key in keys if key.id not in claimed]
    if not repeated:
        return {}
    stored = await _STORED.rows(connection, ids=repeated)
    # A receipt has no answer.
    answers = {row["id"]: restored(row["answer"]) if row["answer"] is not None else b"" for row in stored}
    return {row["id"]: StoredAnswer(row["method"], row["content"], answers[row["id"]]) for row in stored}


async def committed(connection: Connection, receipt_ids: Sequence[UUID], method: str) -> set[UUID]:
    """Those of earlier attempts of a transaction that committed, by their receipts.

    Waits for an attempt that the database has not ended yet; one that did not commit now never will.
    """
    return set(await claim(connection, [IdempotencyKey(id, method, b"") for id in receipt_ids]))


async def store_answers(connection: Connection, answers: Mapping[UUID, bytes]) -> None:
    """Stores the responses of claimed requests, in the transaction that runs them."""
    if answers:
        await ANSWERS.run(connection, list(answers.items()))


def check_same_request(key: IdempotencyKey, stored: StoredAnswer, message: Message) -> None:
    """Raises RequestIdReused with the differing field, unless the stored request equals this one.

    Raises RequestForgotten if its contents were dropped: nobody knows whether they were the same.
    """
    if stored.method != key.method:
        raise RequestIdReused(str(key.id), "rpc")
    if stored.content != key.content:
        if not stored.content:
            raise RequestForgotten(str(key.id))
        first = type(message).FromString(stored.content)
        raise RequestIdReused(str(key.id), differing_field(first, message))
