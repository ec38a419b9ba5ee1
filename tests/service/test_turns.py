"""Long work takes turns with everything else that waits for the event loop."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from policies.domain.model import go_on
from service import background
from service.background import TURNS_OF_OTHERS, Turn, in_turns, let_others_run, pause_of_turn

NAME: ContextVar[str] = ContextVar("NAME", default="")


@pytest.fixture(autouse=True)
def every_turn_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "TURN_SECONDS", 0.0)


async def counted_turns(stop: asyncio.Event) -> int:
    turns = 0
    while not stop.is_set():
        await asyncio.sleep(0)
        turns += 1
    return turns


def add_up(count: int) -> int:
    total = 0
    for number in range(count):
        total += number
        let_others_run()
    return total


async def test_others_run_between_the_steps_of_a_long_function() -> None:
    stop = asyncio.Event()
    others = asyncio.create_task(counted_turns(stop))

    total = await in_turns(add_up, 50)
    stop.set()

    assert total == sum(range(50))
    assert await others >= 50


async def test_a_turn_that_is_not_over_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "TURN_SECONDS", 60.0)
    stop, turn = asyncio.Event(), Turn()
    others = asyncio.create_task(counted_turns(stop))

    await in_turns(add_up, 50)
    await turn.end_if_long()
    stop.set()

    assert await others == 0


async def test_others_get_the_turns_that_a_call_takes_to_be_taken_at_the_end_of_each_turn_of_work() -> None:
    stop, turn = asyncio.Event(), Turn()
    others = asyncio.create_task(counted_turns(stop))

    for _ in range(10):
        await turn.end_if_long()
    stop.set()

    assert await others >= 10 * TURNS_OF_OTHERS


async def test_an_error_after_a_pause_reaches_the_caller() -> None:
    def fail() -> None:
        let_others_run()
        raise KeyError("no such SKU")

    with pytest.raises(KeyError, match="no such SKU"):
        await in_turns(fail)


async def test_work_of_a_cancelled_task_ends_and_cleans_up() -> None:
    cleaned: list[str] = []

    def work() -> None:
        try:
            while True:
                let_others_run()
        finally:
            cleaned.append("cleaned")

    task = asyncio.create_task(in_turns(work))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert cleaned == ["cleaned"]


async def test_two_long_functions_take_turns_and_each_sees_the_context_of_its_caller() -> None:
    order: list[str] = []

    def work() -> None:
        for _ in range(3):
            order.append(NAME.get())
            let_others_run()

    async def named(name: str) -> None:
        NAME.set(name)
        await in_turns(work)

    await asyncio.gather(named("large"), named("larger"))

    assert order == ["large", "larger"] * 3


async def test_a_decision_pauses_only_in_turns() -> None:
    assert await in_turns(pause_of_turn) is let_others_run
    assert pause_of_turn() is go_on


def test_a_function_that_is_called_at_once_never_stops() -> None:
    assert add_up(1_000) == sum(range(1_000))
