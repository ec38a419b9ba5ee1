"""Requests to cancel: which of the requested units can still be cancelled, in pure figures."""

from __future__ import annotations

from collections.abc import Mapping


def cancellable_units(requested: Mapping[str, int], open_units: Mapping[str, int]) -> dict[str, int]:
    """The units by line that a request cancels if it is accepted now; lines without any are left out.

    `open_units` are those that are neither shipped nor cancelled. Without requested lines it is the whole order.
    """
    if not requested:
        return {line_id: count for line_id, count in open_units.items() if count > 0}
    units = {line_id: min(count, open_units.get(line_id, 0)) for line_id, count in requested.items()}
    return {line_id: count for line_id, count in units.items() if count > 0}
