"""What the collector of cycles still does once a service has started."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from service.app.garbage_collector import YOUNG_OBJECTS, spare_started_objects


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
