"""Values for locations, each worked out when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ByLocation(dict[int, T], Generic[T]):
    """A value for each location, by the location's number. What is not there yet is worked out and kept.

    `work_out` does not refer to the owner of the values: the cycle would stay in memory until the collector finds it.
    """

    __slots__ = ("_work_out",)

    def __init__(self, work_out: Callable[[int], T]) -> None:
        super().__init__()
        self._work_out = work_out

    def __missing__(self, number: int) -> T:
        value = self[number] = self._work_out(number)
        return value
