"""What the collector of cycles still does once a service has started."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from service.app.garbage_collector import YOUNG_OBJECTS, spare_started_objects
from service.background import NEW_OBJECTS, Turn


class Node:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def spared() -> Iterator[None]:
    thresholds = gc.get_threshold()
    spare_started_objects()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("spared")
def test_what_exists_when_the_service_has_started_is_never_looked_at_again() -> None:
    assert gc.get_freeze_count() > YOUNG_OBJECTS
    assert len(gc.get_objects()) < YOUNG_OBJECTS


@pytest.mark.usefixtures("spared")
def test_a_cycle_that_is_made_later_is_freed_without_being_asked_for() -> None:
    node = weakref.ref(Node())
    kept = [[number] for number in range(2 * YOUNG_OBJECTS)]

    assert kept
    assert node() is None


@pytest.mark.usefixtures("spared")
async def test_a_cycle_of_long_work_is_freed_at_the_end_of_one_of_its_turns() -> None:
    turn, node = Turn(), weakref.ref(Node())
    kept: list[list[int]] = []
    while node() is not None and len(kept) < YOUNG_OBJECTS // 2:
        kept.append([len(kept)])
        if len(kept) % 100 == 0:
            await turn.end()

    assert node() is None
    assert len(kept) < 2 * NEW_OBJECTS


@pytest.mark.usefixtures("spared")
async def test_work_that_creates_few_objects_does_not_look_at_those_of_others() -> None:
    node = weakref.ref(Node())
    kept = [[number] for number in range(2 * NEW_OBJECTS)]
    turn = Turn()
    for number in range(100):
        kept.append([number])
        await turn.end()

    assert node() is not None


@pytest.mark.usefixtures("spared")
async def test_orders_of_a_transaction_are_not_looked_at_before_its_end() -> None:
    turn, node = Turn(looks_for_cycles=False), weakref.ref(Node())
    kept: list[list[int]] = []
    for number in range(2 * NEW_OBJECTS):
        kept.append([number])
        if number % 100 == 0:
            await turn.end()

    assert node() is not None
