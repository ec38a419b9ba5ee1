"""The hash chain over audit events: which bytes are hashed and signed. Nothing here reads a database or a clock.

Each seal hashes the seal before it together with one event, as Haber and Stornetta, How to Time-Stamp a Digital
Document (1991), link documents: nobody can change, delete, insert or move one without changing every hash after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from asyncpg import Record

FIRST_HASH = bytes(32)
"""What comes before the first seal."""
SEALED_COLUMNS = (
    *("id", "event_time", "principal", "credential", "actor", "peer", "rpc", "request_id"),
    *("area", "entity", "entity_id", "change", "before", "after"),
)
"""What a seal covers of an event: all of it, in this order."""

_SEAL, _SIGNED_SEAL, _ANCHOR = b"truestock audit 1", b"truestock audit seal 1", b"truestock audit anchor 1"
"""Begin what is hashed or signed, so that one can never stand for another."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def seal_hash(previous: bytes, position: int, seal_time: datetime, event: Mapping[str, Any] | Record) -> bytes:
    """SHA-256 of the previous seal's hash and of everything that the seal and its event say."""
    values = (event[name] for name in SEALED_COLUMNS)
    return sha256(canonical((_SEAL, previous, position, seal_time, *values))).digest()


def signed_seal(position: int, digest: bytes) -> bytes:
    """What the signature of a seal signs."""
    return canonical((_SIGNED_SEAL, position, digest))


def signed_anchor(number: int, position: int, digest: bytes, event_time: datetime, anchor_time: datetime) -> bytes:
    """What the signature of an anchor signs."""
    return canonical((_ANCHOR, number, position, digest, event_time, anchor_time))


def canonical(values: Iterable[bytes | str | int | datetime | None]) -> bytes:
    """Values as bytes that only these values have: each with its length before it; -1 is none.

    Times are microseconds since 1970.
    """
    parts: list[bytes] = []
    for value in values:
        if value is None:
            parts.append((-1).to_bytes(8, "big", signed=True))
            continue
        content = _bytes(value)
        parts += (len(content).to_bytes(8, "big", signed=True), content)
    return b"".join(parts)


def _bytes(value: bytes | str | int | datetime) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, datetime):
        value = (value - _EPOCH) // _MICROSECOND
    return str(value).encode()
