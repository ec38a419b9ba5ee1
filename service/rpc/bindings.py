"""Holds principals that are bound to channels or locations to them: what a request names, asks for or points to by id.

A list or a watch that names none gets those of the principal. What cannot be held to them is refused: a method that is
about neither channels nor locations has to be named here to be allowed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from service.auth.principals import Principal
from service.errors import NotBound

_CATALOG = frozenset({"ListLocations", "ListProducts", "ListChannels", "ListTags", "ListCategories", "ListKits"})
_RULES = frozenset({"GetPolicySet", "ListPolicyRevisions", "FindFactValues", "TestPolicies", "StreamTestPolicies"})


@dataclass(frozen=True, slots=True)
class Places:
    """The channel of an order, and the locations that its record is about."""

    channel_id: str
    location_ids: frozenset[str]


FindPlaces = Callable[[str, str], Awaitable[Places | None]]
"""Finds the places of the record whose id a field has, such as ("shipment_id", "0190…"); None if there is none."""


@dataclass(frozen=True, slots=True)
class _Dimension:
    """Channels or locations: the fields of requests that name them, and the methods that are not about them."""

    noun: str
    fields: frozenset[str]
    filter_field: str
    indifferent: frozenset[str]


_CHANNELS = _Dimension(
    "channel",
    frozenset({"channel_id", "channel_ids"}),
    "channel_ids",
    _CATALOG
    | _RULES
    | {"RecordStockChanges", "StreamStockChanges", "TransferStock", "CancelTransfer", "ListTransfers"}
    | {"ListStockLevels", "ListStockMovements", "ListFeeds", "ListPools"},
)
_LOCATIONS = _Dimension(
    "location",
    frozenset({"location_id", "location_ids", "from_location_id", "to_location_id"}),
    "location_ids",
    _CATALOG
    | _RULES
    | {"CheckAvailability", "WatchAvailability", "SearchPickupLocations", "ListChannelFigures", "ListListings"}
    | {"RecordChannelFigures", "RecordUnmetDemand", "CheckProducts"},
)
_IDS = ("shipment_id", "allocation_id")


async def hold_to(principal: Principal, method: str, request: Message, find: FindPlaces) -> None:
    """Narrows the request to what the principal is bound to. Raises NotBound for what is not its own."""
    for dimension, bound in ((_CHANNELS, principal.channel_ids), (_LOCATIONS, principal.location_ids)):
        if bound is not None:
            await _Binding(principal, dimension, bound).hold(method, request, find)


@dataclass(frozen=True, slots=True)
class _Binding:
    """The ids of one dimension that a principal is bound to."""

    principal: Principal
    dimension: _Dimension
    bound: frozenset[str]

    async def hold(self, method: str, request: Message, find: FindPlaces) -> None:
        named = set(_named(request, self.dimension.fields))
        if foreign := named - self.bound:
            raise self._refusal(f"{self.dimension.noun} '{min(foreign)}'")
        ids = [field for field in _IDS if getattr(request, field, "")]
        if self.dimension is _LOCATIONS and named:
            # A store takes back what another location has shipped.
            ids = [field for field in ids if field != "allocation_id"]
        for field in ids:
            if not self._has(await find(field, getattr(request, field))):
                raise self._refusal("what its id stands for")
        fields = request.DESCRIPTOR.fields_by_name
        if not named and self.dimension.filter_field in fields:
            getattr(request, self.dimension.filter_field).extend(sorted(self.bound))
        elif not (named or ids or method in self.dimension.indifferent):
            raise self._refusal(f"{method} without naming one")

    def _has(self, places: Places | None) -> bool:
        if places is None:
            return False
        return (
            places.channel_id in self.bound if self.dimension is _CHANNELS else bool(places.location_ids & self.bound)
        )

    def _refusal(self, asked: str) -> NotBound:
        return NotBound(self.principal.name, self.dimension.noun, self.bound, asked)


def _named(message: Message, names: frozenset[str]) -> Iterator[str]:
    """The values of the fields with these names, in the message and in those that it contains."""
    for field, is_named in _relevant(message.DESCRIPTOR, names):
        value: Any = getattr(message, field.name)
        values = value if field.is_repeated else [value]
        if is_named:
            yield from filter(None, values)
        elif field.is_repeated or message.HasField(field.name):
            for part in values:
                yield from _named(part, names)


@cache
def _relevant(descriptor: Descriptor, names: frozenset[str]) -> tuple[tuple[FieldDescriptor, bool], ...]:
    """The fields to look at: those with one of the names, and messages of ours. No message of ours contains itself."""
    return tuple(
        (field, field.name in names)
        for field in descriptor.fields
        if field.name in names
        or (
            field.message_type is not None
            and field.message_type.full_name.startswith("truestock.")
            and not field.message_type.GetOptions().map_entry
        )
    )
