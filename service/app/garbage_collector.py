"""How often Python looks for unreachable cycles while the service runs."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 30_000
"""Objects created and not yet freed after which Python looks for cycles among them; its default is 700.

An order has 75 until its transaction is committed, none of them in a cycle: with 10,000, Python looked at those of each
large transaction for nothing. Work that creates many objects looks at them at the end of its turns
(`service.background.Turn`), since a look at 30,000 stops everything for 10 ms.
"""
YOUNG_COLLECTIONS = -1
"""Young collections after which Python looks among objects that survived one, too; its default is 10. With -1, each
collection is one of those, and what survives it is old: a collection has no more than YOUNG_OBJECTS to look at. With 0,
every second one looked at the survivors of the first once more, which stopped a large order for 13 ms instead of 8.
"""
MIDDLE_COLLECTIONS = 600
"""Collections after which Python looks among all objects; its default is 10. A large order has hundreds of thousands of
objects, and after 10 collections one of all objects would stop everything for 80 ms.
"""


def spare_started_objects() -> None:
    """Exempts everything that exists from garbage collection, and looks for new cycles less often.

    To be called once the service has started: its modules, rules and statements live as long as the process. With the
    default settings the collector goes through them again and again, for a tenth of the CPU time of an order. A call
    leaves a cycle of five objects behind (grpcio 1.85), so that what waits for the collector is a few MiB at most.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_COLLECTIONS, MIDDLE_COLLECTIONS)
