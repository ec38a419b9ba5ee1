"""Records that a request names and nobody has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from uuid import UUID

import grpc

from policies.domain.near_names import near_names
from service.errors.error_details import Violation, fitting
from service.errors.truestock_error import TruestockError

NAMES_SHOWN = 5
"""Missing names that a message shows, with the near ones."""
ADD_LOCATION_FIRST = "upsert it first with UpsertLocations or `truestock import locations`"
ADD_PRODUCT_FIRST = "upsert it first with UpsertProducts or `truestock import products`"
"""Advice for a request that names a location or product that the catalog lacks."""


class NotFound(TruestockError):
    """The request names something that does not exist."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"

    def __init__(
        self,
        resource_type: str,
        missing: Mapping[str, str],
        advice: str = "",
        near: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`missing` maps each field that names a missing resource to that name.

        `near` maps missing names to existing ones that were probably meant.
        """
        names = sorted(set(missing.values()))
        more = len(names) - NAMES_SHOWN
        shown = ", ".join(f"'{name}'" for name in names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        meant = [f"'{near[name]}'" for name in names[:NAMES_SHOWN] if name in near]
        hint = f"did you mean {', '.join(meant)}? If not, {advice}" if meant and advice else advice
        super().__init__(
            f"no {resource_type} {shown}" + (f"; {hint}" if hint else ""),
            metadata={"resource_type": resource_type, "resource_names": ",".join(fitting(names))},
            violations=[
                Violation(
                    field, f"no {resource_type} '{name}'" + (f"; did you mean '{near[name]}'?" if name in near else "")
                )
                for field, name in list(missing.items())[:100]
            ],
        )


def _first(missing: Mapping[str, str]) -> list[str]:
    """The names that the message shows: comparing each name with all known ones takes time."""
    return sorted(set(missing.values()))[:NAMES_SHOWN]


def no_channel(missing: Mapping[str, str], channel_ids: Iterable[str]) -> NotFound:
    """The error for channels that do not exist; `channel_ids` are those that do."""
    known = sorted(channel_ids)
    advice = f"these are the channels: {', '.join(known[:10]) or 'none yet'}"
    return NotFound("channel", missing, advice, near_names(_first(missing), known))


def no_product(missing: Mapping[str, str], near: Mapping[str, str]) -> NotFound:
    """The error for SKUs that no product has; `near` maps them to those that were probably meant."""
    return NotFound("product", missing, ADD_PRODUCT_FIRST, near)


def no_location(missing: Mapping[str, str], location_ids: Iterable[str]) -> NotFound:
    """The error for locations that do not exist; `location_ids` are those that do."""
    return NotFound("location", missing, ADD_LOCATION_FIRST, near_names(_first(missing), location_ids))


def no_listing(channel_id: str, missing: Mapping[str, str]) -> NotFound:
    """The error for items of a channel that no listing maps; `missing` maps each field that names one to it."""
    advice = f"map it first with UpsertListings, or look it up with `truestock listings --channel {channel_id}`"
    return NotFound("listing", missing, advice)


def no_pool(missing: Mapping[str, str], pool_ids: Iterable[str]) -> NotFound:
    """The error for pools that do not exist; `pool_ids` are those that do."""
    advice = "upsert it first with UpsertPools or `truestock import pools`"
    return NotFound("pool", missing, advice, near_names(_first(missing), pool_ids))


def no_outlet(missing: Mapping[str, str], channel_id: str, outlet_ids: Iterable[str]) -> NotFound:
    """The error for outlets that a channel does not have; `outlet_ids` are those that it has."""
    known = sorted(outlet_ids)
    advice = f"these are the outlets of channel '{channel_id}': {', '.join(known[:10]) or 'none yet'}"
    return NotFound("outlet", missing, advice, near_names(_first(missing), known))


def no_allocation(allocation_id: UUID) -> NotFound:
    """The error for an allocation id that does not exist."""
    advice = "look it up by its order with GetAllocation or `truestock explain CHANNEL/ORDER`"
    return NotFound("allocation", {"allocation_id": str(allocation_id)}, advice)


def no_order(key: tuple[str, str]) -> NotFound:
    """The error for a request whose field `order` names an order that does not exist; `key` is (channel, order)."""
    return NotFound("order", {"order.order_id": "/".join(key)}, "send it with AllocateOrder first")
