"""Errors in the log: their type and place, and never what a caller sent."""

from __future__ import annotations

import asyncpg
import pytest

from service.errors import InvalidFields, NotReady, Violation
from service.observability.error_text import error_text, traceback_text
from service.observability.log_output import add_traceback

SHOPPER = "Erika Mustermann"


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def database_error(kind: type[asyncpg.PostgresError], message: str) -> asyncpg.PostgresError:
    error = kind(message)
    error.detail = f"Key (order_id)=({SHOPPER}) already exists."
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(111, "Connection refused"), "ConnectionRefusedError: [Errno 111] Connection refused"),
        (NotReady("it stops"), "NotReady: it stops; try again in a moment"),
        (
            database_error(
                asyncpg.UniqueViolationError, 'duplicate key value violates unique constraint "request_pkey"'
            ),
            'UniqueViolationError: duplicate key value violates unique constraint "request_pkey"',
        ),
    ],
)
def test_a_message_without_values_of_callers_is_logged(error: BaseException, text: str) -> None:
    assert error_text(raised(error)) == text


@pytest.mark.parametrize(
    "error",
    [
        KeyError(SHOPPER),
        ValueError(f"no such line: {SHOPPER}"),
        InvalidFields([Violation("order_id", f"'{SHOPPER}' is not an order")]),
        database_error(asyncpg.InvalidTextRepresentationError, f'invalid input syntax for type uuid: "{SHOPPER}"'),
        asyncpg.DataError(f"invalid input for query argument $1: '{SHOPPER}'"),
        ExceptionGroup(SHOPPER, [ValueError(SHOPPER)]),
    ],
)
def test_the_log_has_the_type_of_an_error_and_not_the_value_in_its_message(error: BaseException) -> None:
    for text in (error_text(raised(error)), traceback_text(raised(error))):
        assert type(error).__name__ in text
        assert SHOPPER not in text


def test_a_traceback_names_the_places_and_causes_of_an_error_without_values() -> None:
    def look_up(name: str) -> None:
        try:
            raise KeyError(name)
        except KeyError as error:
            raise RuntimeError(f"{name} failed") from error

    error = None
    try:
        look_up(SHOPPER)
    except RuntimeError as caught:
        error = caught

    line = dict(add_traceback(None, "error", {"event": "unexpected error", "exc_info": error}))

    assert line.keys() == {"event", "exception"}
    assert "in look_up" in line["exception"]
    assert line["exception"].index("KeyError (test_error_text.py:") < line["exception"].index("RuntimeError (test_err")
    assert SHOPPER not in line["exception"]


def test_a_loop_of_causes_ends() -> None:
    first, second = raised(ValueError()), raised(KeyError())
    first.__cause__, second.__cause__ = second, first

    assert traceback_text(first).count("ValueError") == 5
