"""Answers that are remembered in a dictionary of bounded size."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def remember(values: dict[K, V], key: K, value: V, *, at_most: int) -> None:
    """Keeps a value; if there is no room for its key, forgets all others first.

    For what is cheap to work out again and seldom fills its room: to know which value was used last, every look at one
    would cost more.
    """
    if key not in values and len(values) >= at_most:
        values.clear()
    values[key] = value
