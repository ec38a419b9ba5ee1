"""The garbage collector of a measurement that runs the service's code in this process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from service.app.garbage_collector import spare_started_objects


@contextmanager
def collector_of_service() -> Iterator[None]:
    """The collector as in a service that has started, and as it was before at the end.

    With Python's own settings an order pays for a look at everything that this process has loaded.
    """
    thresholds = gc.get_threshold()
    spare_started_objects()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
