"""Page tokens: the position at which the next page of a list starts, opaque to callers."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from service import limits
from service.rpc.validation import Fields

_Position = TypeVar("_Position")
_SEPARATOR = "\x1f"
_MOST = 2**63 - 1
"""The greatest number that numbers a row."""
_PAGE_FIELDS = ("page_size", "page_token")
NEWEST = datetime(9999, 12, 31, tzinfo=UTC)
"""Later than every stored time: the start of lists that show the newest first."""


class PageTokens:
    """The page tokens of one list as one request filters it.

    A token holds the sort values of the last entry, not an offset. Records that are added or removed between two pages
    therefore cause neither gaps nor repeats. It also holds the list and a digest of the filters: a position of another
    list, or of other filters, would skip entries without a word, so it is refused.
    """

    def __init__(self, request: Message) -> None:
        """`request` is the request for a page, with its filters, `page_size` and `page_token`."""
        self._list_name = request.DESCRIPTOR.name
        self._filters = _digest(request)
        self._given: str = request.page_token  # type: ignore[attr-defined]

    def after(self, *names: str) -> str:
        """The token of the position after an entry with these sort values, which contain no control characters."""
        parts = (self._list_name, self._filters, *names)
        return base64.urlsafe_b64encode(_SEPARATOR.join(parts).encode()).decode()

    def after_time(self, time: datetime, id: UUID | str | int) -> str:
        """The token of the position after an entry that is sorted by time, then by id."""
        return self.after(time.astimezone(UTC).isoformat(), str(id))

    def after_key(self, key: Sequence[Any]) -> str:
        """The token of the position after an entry that is sorted by these times, names and ids."""
        return self.after(*(x.astimezone(UTC).isoformat() if isinstance(x, datetime) else str(x) for x in key))

    def name(self, fields: Fields) -> str | None:
        """The position in a token of one name; None for the start of the list, and after a violation."""
        return self._read(fields, _name)

    def names(self, fields: Fields) -> tuple[str, str] | None:
        """The position in a token of two names; None for the start of the list, and after a violation."""
        return self._read(fields, lambda first, second: (_name(first), _name(second)))

    def three_names_and_time(self, fields: Fields) -> tuple[str, str, str, datetime] | None:
        """The position in a token of three names and a time; None for the start of the list, and after a violation."""
        return self._read(fields, lambda a, b, c, time: (_name(a), _name(b), _name(c), _time(time)))

    def id(self, fields: Fields) -> UUID | None:
        """The position in a token of a UUID; None for the start of the list, and after a violation."""
        return self._read(fields, UUID)

    def ids(self, fields: Fields) -> tuple[UUID] | None:
        """The same as a key of one part."""
        id = self.id(fields)
        return None if id is None else (id,)

    def time_and_id(self, fields: Fields) -> tuple[datetime, UUID] | None:
        """The position in a token of a time and a UUID; None for the start of the list, and after a violation."""
        return self._read(fields, lambda time, id: (_time(time), UUID(id)))

    def time_and_name(self, fields: Fields) -> tuple[datetime, str] | None:
        """The position in a token of a time and a name; None for the start of the list, and after a violation."""
        return self._read(fields, lambda time, id: (_time(time), _name(id)))

    def time_and_number(self, fields: Fields) -> tuple[datetime, int] | None:
        """The position in a token of a time and a number; None for the start of the list, and after a violation."""
        return self._read(fields, lambda time, number: (_time(time), _number(number)))

    def _read(self, fields: Fields, read: Callable[..., _Position]) -> _Position | None:
        if not self._given:
            return None
        try:
            text = base64.urlsafe_b64decode(self._given[: 8 * limits.TEXT_LENGTH].encode()).decode()
            list_name, filters, *position = text.split(_SEPARATOR)
            if list_name != self._list_name:
                fields.wrong("page_token", f"belongs to another list; {_ADVICE}")
            elif filters != self._filters:
                fields.wrong("page_token", f"belongs to this list with other filters; {_ADVICE}")
            else:
                return read(*position)
        except (binascii.Error, ValueError, OverflowError, TypeError):
            fields.wrong("page_token", f"is not a next_page_token of this service; {_ADVICE}")
        return None


_ADVICE = "send the next_page_token of the page before with its filters unchanged, or leave it out to start again"


def _digest(request: Message) -> str:
    """A short digest of everything that a request filters by. The order of a filter's entries does not matter."""
    digest = hashlib.sha256()
    for field, value in request.ListFields():
        if field.name not in _PAGE_FIELDS:
            entries = sorted(set(map(_bytes, value))) if field.is_repeated else [_bytes(value)]
            digest.update(b"\x1d".join([field.name.encode(), *entries]) + b"\x1e")
    return digest.hexdigest()[:16]


def _bytes(value: Any) -> bytes:
    return value.SerializeToString(deterministic=True) if isinstance(value, Message) else str(value).encode()


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time.astimezone(UTC)


def _number(text: str) -> int:
    number = int(text)
    if not 0 <= number <= _MOST:
        raise ValueError("a number that no row has")
    return number


def _name(text: str) -> str:
    if any(character < " " for character in text):
        raise ValueError("a name with control characters")
    return text
