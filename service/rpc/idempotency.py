"""Request ids: a write that is sent twice is carried out once, and the second gets the stored answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import LargeBinary, Text, Uuid, select, update
from sqlalchemy.dialects.postgresql import insert

from service.database.database import Connection, Database, Statement, any_of, transposed, unnested
from service.database.tables import request
from service.errors import RequestIdReused

Answer = TypeVar("Answer", bound=Message)
Effect = TypeVar("Effect")

_claimed = unnested("claimed", id=Uuid, method=Text, content=LargeBinary)
_CLAIM = Statement(
    insert(request)
    .from_select(
        ["id", "method", "content"],
        select(_claimed.c.id, _claimed.c.method, _claimed.c.content).order_by(_claimed.c.id),
    )
    .on_conflict_do_nothing()
    .returning(request.c.id)
)
_STORED = Statement(select(request).where(request.c.id == any_of("ids", Uuid)))

_answered = unnested("answered", id=Uuid, answer=LargeBinary)
_ANSWER = Statement(update(request).values(answer=_answered.c.answer).where(request.c.id == _answered.c.id))


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A request by its id. `content` is its serialised message, empty where the caller named no id."""

    id: UUID
    method: str
    content: bytes


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request with the id that makes it safe to repeat."""

    key: IdempotencyKey
    message: Message

    @classmethod
    def of(
        cls, method: str, message: Message, request_id: UUID | None, new_id: Callable[[], UUID]
    ) -> IdempotentRequest:
        """A call without a request id gets one of its own, so that a lost commit is noticed all the same."""
        return cls(IdempotencyKey(request_id or new_id(), method, serialized(message) if request_id else b""), message)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A request that was carried out before."""

    method: str
    content: bytes
    answer: bytes


async def once(
    database: Database,
    operation: str,
    asked: IdempotentRequest,
    answer_type: type[Answer],
    work: Callable[[Connection], Awaitable[tuple[Answer, Effect]]],
) -> tuple[Answer, Effect | None]:
    """Carries a request out in one transaction, or answers as it was answered before.

    `work` returns the answer and what is to be counted of it; the latter is None where the request was carried out
    before this call. Raises RequestIdReused, NotReady, and what `work` raises.
    """
    tried: list[tuple[Answer, Effect]] = []

    async def attempt(connection: Connection) -> tuple[Answer, Effect | None]:
        stored = (await claim(connection, [asked.key])).get(asked.key.id)
        if stored is not None:
            check_same_request(asked.key, stored, asked.message)
            known = answer_type.FromString(stored.answer)
            # An earlier attempt whose commit went through unheard is still to be counted.
            return next((one for one in tried if one[0] == known), (known, None))
        made, effect = await work(connection)
        await store_answers(connection, {asked.key.id: made.SerializeToString()})
        tried.append((made, effect))
        return made, effect

    return await database.transaction(operation, attempt)


async def claim(connection: Connection, claims: Sequence[IdempotencyKey]) -> dict[UUID, StoredAnswer]:
    """Claims request ids, in order; returns those that were carried out before.

    Waits for a transaction in flight that has claimed the same id, so that after a lost commit the outcome is known.
    """
    rows = [(c.id, c.method, c.content) for c in claims]
    won = {r["id"] for r in await _CLAIM.rows(connection, **transposed(["id", "method", "content"], rows))}
    known = [c.id for c in claims if c.id not in won]
    if not known:
        return {}
    rows_stored = await _STORED.rows(connection, ids=known)
    return {r["id"]: StoredAnswer(r["method"], r["content"], r["answer"]) for r in rows_stored}


async def store_answers(connection: Connection, answers: Mapping[UUID, bytes]) -> None:
    """Stores the answers of claimed requests, in the transaction that carries them out."""
    if answers:
        await _ANSWER.run(connection, **transposed(["id", "answer"], list(answers.items())))


def check_same_request(claim: IdempotencyKey, stored: StoredAnswer, message: Message) -> None:
    """Raises RequestIdReused, naming the field that differs, unless the stored request is this one."""
    if stored.method != claim.method:
        raise RequestIdReused(str(claim.id), "rpc")
    if stored.content != claim.content:
        first = type(message).FromString(stored.content)
        raise RequestIdReused(str(claim.id), differing_field(first, message))


def serialized(message: Message) -> bytes:
    """The message as it is stored, equal for equal messages."""
    return message.SerializeToString(deterministic=True)


def differing_field(one: Message, other: Message) -> str:
    """The path of the first field in which two messages of one type differ, such as `lines[2].unit_count`."""
    for descriptor in one.DESCRIPTOR.fields:
        left, right = getattr(one, descriptor.name), getattr(other, descriptor.name)
        if left == right and (
            not descriptor.has_presence or one.HasField(descriptor.name) == other.HasField(descriptor.name)
        ):
            continue
        return _path(descriptor.name, left, right)
    return "request"


def _path(name: str, left: object, right: object) -> str:
    if isinstance(left, Message) and isinstance(right, Message):
        return f"{name}.{differing_field(left, right)}" if left.DESCRIPTOR.fields else name
    if isinstance(left, str | bytes) or not isinstance(left, Sequence) or not isinstance(right, Sequence):
        return name
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return _path(f"{name}[{index}]", a, b)
    return f"{name}[{min(len(left), len(right))}]"
