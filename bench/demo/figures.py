"""The figures of one demo: how many units there are, and how many too many are sold."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

DEFAULT_SEED = 7


@dataclass(frozen=True, slots=True)
class DemoFigures:
    """Units; `warehouse` and `store` are those that the first stocktake counts in each, `oversold` those too many."""

    warehouse: int
    store: int
    oversold: int
    warehouse_delivery: int
    store_delivery: int
    cart: int

    @classmethod
    def of(cls, seed: int) -> DemoFigures:
        """The figures of a seed; the same seed has the same ones."""
        dice = Random(seed)
        return cls(
            warehouse=dice.randint(14, 22),
            store=dice.randint(3, 5),
            oversold=dice.randint(2, 4),
            warehouse_delivery=dice.randint(22, 30),
            store_delivery=dice.randint(9, 12),
            cart=dice.randint(3, 6),
        )
