"""Work that repeats: a failure that repeats is logged once a minute, and nothing that failed is left uncounted."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from service.background import FAILURE_KINDS, LINE_SECONDS, TRACEBACK_SECONDS, FailureLog, all_of, every, pause
from service.errors import NotReady


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def raised(error: type[Exception] = KeyError, message: str = "mug") -> Exception:
    try:
        raise error(message)
    except Exception as caught:
        return caught


def test_a_failure_that_repeats_is_logged_once_a_minute_with_its_number() -> None:
    clock = Clock()
    failures = FailureLog(clock)

    with capture_logs() as lines:
        for _ in range(int(3 * LINE_SECONDS)):
            failures.failed("a sweep failed", raised(), work="sweep")
            clock.seconds += 1

    assert [line["times"] for line in lines] == [1, 60, 60]
    assert ["exc_info" in line for line in lines] == [True, False, False]
    assert {line["work"] for line in lines} == {"sweep"}
    assert all(line["error"].startswith("KeyError (test_background.py:") for line in lines)


def test_the_traceback_is_logged_again_after_an_hour() -> None:
    clock = Clock()
    failures = FailureLog(clock)

    with capture_logs() as lines:
        for _ in range(2):
            failures.failed("a sweep failed", raised())
            clock.seconds += TRACEBACK_SECONDS

    assert ["exc_info" in line for line in lines] == [True, True]


def test_each_kind_of_failure_is_logged_in_full_once() -> None:
    failures = FailureLog(Clock())

    with capture_logs() as lines:
        for _ in range(2):
            failures.failed("a sweep failed", raised(KeyError))
            failures.failed("a sweep failed", raised(ValueError))
            failures.failed("a poll failed", raised(KeyError))

    assert [(line["event"], line["error"].split()[0]) for line in lines] == [
        ("a sweep failed", "KeyError"),
        ("a sweep failed", "ValueError"),
        ("a poll failed", "KeyError"),
    ]


def test_a_log_of_failures_keeps_a_bounded_number_of_kinds() -> None:
    failures = FailureLog(Clock())

    with capture_logs() as lines:
        for number in range(FAILURE_KINDS + 1):
            failures.failed(f"failure {number}", raised())
        failures.failed("failure 0", raised())

    assert len(lines) == FAILURE_KINDS + 2


def test_without_a_traceback_all_errors_of_one_event_are_one_kind() -> None:
    failures = FailureLog(Clock())

    with capture_logs() as lines:
        failures.failed("the database does not answer", raised(OSError, "no route"), traceback=False)
        failures.failed("the database does not answer", raised(TimeoutError, ""), traceback=False)
        failures.worked("the database answers again")
        failures.worked("the database answers again")

    assert [line["event"] for line in lines] == ["the database does not answer", "the database answers again"]
    assert lines[0]["error"] == "OSError: no route"
    assert lines[1]["failures_since"] == 1


def test_what_fails_and_works_in_turn_is_logged_twice_a_minute() -> None:
    clock = Clock()
    failures = FailureLog(clock)

    with capture_logs() as lines:
        for _ in range(int(2 * LINE_SECONDS)):
            failures.failed("a sweep failed", raised())
            clock.seconds += 1
            failures.worked("a sweep succeeds again")

    assert [line["event"] for line in lines] == ["a sweep failed", "a sweep succeeds again"] * 2


async def test_periodic_work_that_fails_is_repeated_and_named() -> None:
    stop = asyncio.Event()
    results: list[type[Exception] | None] = [KeyError, NotReady, KeyError, None]

    async def sweep() -> None:
        error = results.pop(0)
        if not results:
            stop.set()
        if error is not None:
            raise error("mug")

    with capture_logs() as lines:
        await every(0.001, stop, sweep)

    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("error", "periodic work failed and will be tried again"),
        ("warning", "periodic work succeeds again"),
    ]
    assert lines[0]["work"].endswith("sweep")
    assert lines[-1]["failures_since"] == 1


@pytest.mark.parametrize("turns", range(4))
async def test_a_cancellation_that_comes_as_the_event_is_set_is_not_lost(turns: int) -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(pause(event, 10))
    await asyncio.sleep(0)

    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    is_cancelled = waiting.cancel()
    await asyncio.wait([waiting])

    assert waiting.cancelled() == is_cancelled


async def test_work_that_fails_ends_with_the_first_error_once_all_beside_it_has_ended() -> None:
    done: list[str] = []

    async def take(name: str, turns: int, error: Exception | None = None) -> str:
        for _ in range(turns):
            await asyncio.sleep(0)
        done.append(name)
        if error:
            raise error
        return name

    assert await all_of([take("orders", 3), take("counts", 1)]) == ["orders", "counts"]
    done.clear()
    with pytest.raises(LookupError, match="orders"):
        await all_of(
            [take("orders", 2, LookupError("orders")), take("counts", 1, KeyError("counts")), take("returns", 9)]
        )

    assert done == ["counts", "orders", "returns"]


async def test_an_error_that_is_a_result_of_work_is_told_from_one_that_was_raised() -> None:
    async def answer(value: object) -> object:
        return value

    error = LookupError("an order of a batch that cannot be read")

    assert await all_of([answer(error), answer("another one")]) == [error, "another one"]
    assert await all_of([]) == []
