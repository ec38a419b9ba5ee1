"""Outlets: what a channel calls a location or a warehouse, with the locations that it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outlet:
    """An outlet of one channel; without locations if its pool was deleted.

    An order keeps the outlet that it chose as it was then. One that its channel did not have `is_known` to nobody, and
    has no locations.
    """

    id: str
    location_ids: frozenset[str]
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class OutletConflict:
    """A location that is in two outlets of one channel."""

    channel_id: str
    location_id: str
    outlet_id: str
    other_outlet_id: str


def outlet_conflict(outlets: Mapping[str, Iterable[Outlet]]) -> OutletConflict | None:
    """The first location that is in two outlets of one channel, by channel, outlet and location; None if none is.

    `outlets` are by channel id.
    """
    for channel_id in sorted(outlets):
        outlet_ids: dict[str, str] = {}
        for outlet in sorted(outlets[channel_id], key=lambda outlet: outlet.id):
            for location_id in sorted(outlet.location_ids):
                other = outlet_ids.setdefault(location_id, outlet.id)
                if other != outlet.id:
                    return OutletConflict(channel_id, location_id, other, outlet.id)
    return None
