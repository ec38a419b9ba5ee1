"""Units that come back, and units that are refunded without coming back: each shipped unit once.

Of the shipped units of a line, `returned` ones are back at a location, and `refunded` ones were refunded while the
shopper keeps them. A refunded unit may still come back. It is then a returned unit and no longer a refunded one, so
its refund is not counted twice. A unit that is back cannot be refunded as one that stays away. So at any moment
returned + refunded <= shipped, and over any sequence of events no more units come back than have shipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ShippedUnits:
    """Units of one order line that shipped in one shipment."""

    shipped: int
    returned: int = 0
    refunded: int = 0

    def __post_init__(self) -> None:
        if min(self.returned, self.refunded) < 0 or self.returned + self.refunded > self.shipped:
            raise ValueError(f"{self.returned} returned and {self.refunded} refunded of {self.shipped} shipped units")

    @property
    def unreturned(self) -> int:
        """Units that may still come back."""
        return self.shipped - self.returned

    @property
    def unrefunded(self) -> int:
        """Units that have neither come back nor been refunded."""
        return self.shipped - self.returned - self.refunded


def with_returned(parcels: Sequence[ShippedUnits], units: int) -> list[ShippedUnits]:
    """The units of a line by shipment after `units` came back: refunded ones first, then in the order of shipments.

    Raises ValueError if fewer units may still come back.
    """
    if units > sum(parcel.unreturned for parcel in parcels):
        raise ValueError(f"{units} units cannot come back")
    remaining, after = units, []
    for parcel in parcels:
        count = min(remaining, parcel.refunded)
        remaining -= count
        after.append(replace(parcel, returned=parcel.returned + count, refunded=parcel.refunded - count))
    for index, parcel in enumerate(after):
        count = min(remaining, parcel.unrefunded)
        remaining -= count
        after[index] = replace(parcel, returned=parcel.returned + count)
    return after


def with_refunded(parcels: Sequence[ShippedUnits], units: int) -> list[ShippedUnits]:
    """The units of a line by shipment after `units` were refunded without coming back, in the order of shipments.

    Raises ValueError if fewer units are neither back nor refunded.
    """
    if units > sum(parcel.unrefunded for parcel in parcels):
        raise ValueError(f"{units} units cannot be refunded")
    remaining, after = units, []
    for parcel in parcels:
        count = min(remaining, parcel.unrefunded)
        remaining -= count
        after.append(replace(parcel, refunded=parcel.refunded + count))
    return after
