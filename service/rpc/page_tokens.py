"""Page tokens: the position at which the next page of a list starts, opaque to callers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from service import limits
from service.rpc.validation import Fields

_Position = TypeVar("_Position")
_SEPARATOR = "\x1f"
NEWEST = datetime(9999, 12, 31, tzinfo=UTC)
"""Later than every stored time: the start of lists that show the newest first."""


# A token holds the sort values of the last entry, not an offset. Records that are added or removed between two pages
# therefore cause neither gaps nor repeats.
def token(*parts: str) -> str:
    """The token of the position after an entry with these sort values, which contain no control characters."""
    return base64.urlsafe_b64encode(_SEPARATOR.join(parts).encode()).decode()


def time_token(time: datetime, id: UUID | str) -> str:
    """The token of the position after an entry that is sorted by time, then by id."""
    return token(time.astimezone(UTC).isoformat(), str(id))


def read_names(fields: Fields, page_token: str) -> tuple[str, str] | None:
    """The position in a token of two names; None for the start of the list."""
    return _position(fields, page_token, lambda first, second: (_name(first), _name(second)))


def read_time_and_id(fields: Fields, page_token: str) -> tuple[datetime, UUID] | None:
    """The position in a token of a time and a UUID; None for the start of the list."""
    return _position(fields, page_token, lambda time, id: (_time(time), UUID(id)))


def read_time_and_name(fields: Fields, page_token: str) -> tuple[datetime, str] | None:
    """The position in a token of a time and a name; None for the start of the list."""
    return _position(fields, page_token, lambda time, id: (_time(time), _name(id)))


def _position(fields: Fields, page_token: str, read: Callable[[str, str], _Position]) -> _Position | None:
    if not page_token:
        return None
    try:
        first, second = (
            base64.urlsafe_b64decode(page_token[: 8 * limits.TEXT_LENGTH].encode()).decode().split(_SEPARATOR)
        )
        return read(first, second)
    except (binascii.Error, ValueError, OverflowError):
        fields.wrong_token()
        return None


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time.astimezone(UTC)


def _name(text: str) -> str:
    if any(character < " " for character in text):
        raise ValueError("a name with control characters")
    return text
