"""Connections that know PostgreSQL's own types from each other.

asyncpg asks the server about each type of a statement that it has no code for, such as `uuid[]`, and each connection
asks for itself: 10 ms each time, which the first orders after a start or a quiet hour would wait for.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import asyncpg

FIRST_OTHER_TYPE = 10_000
"""Types below this number are the same in every database of every server (FirstGenbkiObjectId in transam.h)."""

_described: dict[int, tuple[Any, ...]] = {}
"""What a server said about a type and the types that it consists of, by the type's number."""


class Connection(asyncpg.Connection):
    """Asks about a type of PostgreSQL only if no connection of this process has done so before."""

    keeps_statements = False
    """Whether a statement that was prepared stays: not behind a connection pooler."""

    # A private method of asyncpg 0.30 to 0.32. Were it called otherwise, connections would ask as often as they did.
    async def _introspect_types(self, typeoids: Collection[int], timeout: float | None) -> tuple[Any, Any]:  # noqa: ASYNC109
        if all(number in _described for number in typeoids):
            return [row for number in typeoids for row in _described[number]], _Nothing
        answer: tuple[Any, Any] = await super()._introspect_types(typeoids, timeout)  # type: ignore[misc]
        if max(typeoids) < FIRST_OTHER_TYPE:
            _described.update(dict.fromkeys(typeoids, tuple(answer[0])))
        return answer


class _Nothing:
    """Stands for the statement that was not needed: the statement prepared before it is still there."""

    name = "none"
