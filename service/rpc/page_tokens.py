"""Page tokens: where a list goes on, in a form that callers keep and do not read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from service import limits
from service.rpc.validation import Fields

_Place = TypeVar("_Place")
_APART = "\x1f"
NEWEST = datetime(9999, 12, 31, tzinfo=UTC)
"""Behind every moment that was ever written: where lists begin that show the newest first."""


def token(*parts: str) -> str:
    """The token of the place behind an entry that is sorted by these values; none has control characters."""
    return base64.urlsafe_b64encode(_APART.join(parts).encode()).decode()


def time_token(moment: datetime, id: UUID | str) -> str:
    """The token of the place behind an entry that is sorted by a moment, then by its id."""
    return token(moment.astimezone(UTC).isoformat(), str(id))


def read_names(fields: Fields, page_token: str) -> tuple[str, str] | None:
    """The place that a token of two names stands for; None where the list begins."""
    return _place(fields, page_token, lambda first, second: (_name(first), _name(second)))


def read_time_and_id(fields: Fields, page_token: str) -> tuple[datetime, UUID] | None:
    """The place that a token of a moment and a UUID stands for; None where the list begins."""
    return _place(fields, page_token, lambda moment, id: (_moment(moment), UUID(id)))


def read_time_and_name(fields: Fields, page_token: str) -> tuple[datetime, str] | None:
    """The place that a token of a moment and a name stands for; None where the list begins."""
    return _place(fields, page_token, lambda moment, id: (_moment(moment), _name(id)))


def _place(fields: Fields, page_token: str, read: Callable[[str, str], _Place]) -> _Place | None:
    if not page_token:
        return None
    try:
        first, second = base64.urlsafe_b64decode(page_token[: 8 * limits.TEXT_LENGTH].encode()).decode().split(_APART)
        return read(first, second)
    except (binascii.Error, ValueError, OverflowError):
        fields.wrong_token()
        return None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone")
    return moment.astimezone(UTC)


def _name(text: str) -> str:
    if any(character < " " for character in text):
        raise ValueError("a name that nothing has")
    return text
