"""Errors as text for the log, without what callers sent.

The message of an exception may hold any value: `KeyError` is nothing but the key. So the log has the type and the place
of every error, and its message only where no caller's value can be in it.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import PurePath

import asyncpg

from service.errors import NotReady, Overloaded, TruestockError, UnreadableRequest

LENGTH = 300
"""Characters of a message."""
CHAIN_LENGTH = 10
"""Errors of one chain of causes that a traceback shows."""


def error_text(error: BaseException) -> str:
    """The error on one line: its type, with its message or where it was raised."""
    name = type(error).__name__
    message = _message(error)
    if message is not None:
        return f"{name}: {message}"[:LENGTH]
    place = _place(error)
    return f"{name} ({place})" if place else name


def traceback_text(error: BaseException) -> str:
    """The error with its causes and the places through which each was raised, the first cause first."""
    chain = list(_chain(error))
    return "\n".join(_one(cause) for cause in reversed(chain))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(CHAIN_LENGTH):
        if error is None:
            return
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _one(error: BaseException) -> str:
    frames = "".join(traceback.format_tb(error.__traceback__))
    notes = [*getattr(error, "__notes__", ())]
    parts = [error_text(part) for part in error.exceptions] if isinstance(error, BaseExceptionGroup) else []
    return f"Traceback (most recent call last):\n{frames}" + "\n".join([error_text(error), *parts, *notes])


def _message(error: BaseException) -> str | None:
    """The first line of the message, None if it may hold a caller's value.

    PostgreSQL adds details with values on further lines; those of class 22 (data exceptions) and of the driver's
    DataError have values in the first.
    """
    if isinstance(error, asyncpg.DataError):
        return None
    if isinstance(error, TruestockError) and not isinstance(error, NotReady | Overloaded | UnreadableRequest):
        return error.reason
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError | OSError | TruestockError):
        lines = str(error).splitlines() or [""]
        return lines[0]
    return None


def _place(error: BaseException) -> str:
    """The file and line that raised the error, empty if it was never raised."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"{PurePath(frames[0].filename).name}:{frames[0].lineno}" if frames else ""
