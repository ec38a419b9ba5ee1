"""Requests for pages of history, newest first, checked and turned into plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from service import limits
from service.rpc.page_tokens import NEWEST, PageTokens
from service.rpc.validation import Fields


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Which part of a history to list: at most `count` entries from `since` on and before `before`.

    `filters` has the values of each filter by its name; an empty one matches everything.
    """

    count: int
    since: datetime
    before: tuple[datetime, int]
    filters: Mapping[str, Sequence[str]]
    tokens: PageTokens


def history_page(fields: Fields, request: Any, filters: Mapping[str, Sequence[str]]) -> HistoryPage:
    """The page of a request with `since_time`, `until_time`, `page_size` and `page_token`. Raises InvalidFields.

    `fields` has what was found wrong with the filters.
    """
    since, until = (optional_time(fields, request, name) for name in ("since_time", "until_time"))
    check_range(fields, since, until)
    count, tokens = fields.page_size(request.page_size), PageTokens(request)
    before = min(tokens.time_and_number(fields) or (NEWEST, 0), (until or NEWEST, 0))
    fields.finish()
    return HistoryPage(count, since or limits.EARLIEST, before, filters, tokens)


def optional_time(fields: Fields, request: Message, name: str) -> datetime | None:
    """A time that may be unset."""
    return fields.moment(name, getattr(request, name), given=True) if request.HasField(name) else None


def check_range(fields: Fields, since: datetime | None, until: datetime | None) -> None:
    """Checks that a range of time is not empty."""
    if since is not None and until is not None and until <= since:
        fields.wrong("until_time", "must be after since_time")


def names(fields: Fields, name: str, values: Sequence[str], *, most: int, longest: int) -> Sequence[str]:
    """The values of a filter; one that does not exist matches nothing."""
    if fields.size(name, values, 0, most):
        for index, value in enumerate(values):
            fields.text(f"{name}[{index}]", value, longest=longest, required=True)
    return values
