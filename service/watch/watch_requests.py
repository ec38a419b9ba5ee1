"""Watch requests, checked and turned into plain values, and resume tokens."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from service import limits
from service.availability.published_items import name_of_item
from service.rpc.validation import Fields
from truestock.v1 import allocation_service_pb2 as allocation_pb, availability_service_pb2 as availability_pb

_AVAILABILITY = "a1"
_ORDERS = "o1"
_TOKEN = re.compile(r"([a-z]\d+)\.([0-9a-f]{8})\.(\d{1,19})")


@dataclass(frozen=True, slots=True)
class AvailabilitySubscription:
    """What availability to send: `skus` None is every product. `since` is the transaction of the resume token.

    Among SKUs are the names of items.

    `internal`: what is sent is not for the channel. `include_outlets`: the units of its outlets are sent too.
    """

    channel_id: str
    skus: frozenset[str] | None
    since: int | None
    heartbeat: timedelta
    internal: bool = False
    include_outlets: bool = False


@dataclass(frozen=True, slots=True)
class OrderSubscription:
    """Whose orders to send: no `channel_ids` is all channels. `since` is the transaction of the resume token."""

    channel_ids: frozenset[str]
    since: int | None
    heartbeat: timedelta


def availability_subscription(request: availability_pb.WatchAvailabilityRequest) -> AvailabilitySubscription:
    """Raises InvalidFields with everything that is wrong."""
    fields = Fields()
    fields.text("channel_id", request.channel_id, longest=limits.ID_LENGTH, required=True)
    if fields.size("skus", [*request.skus, *request.item_ids], 0, limits.WATCHED_SKUS):
        for index, sku in enumerate(request.skus):
            fields.sku(f"skus[{index}]", sku)
        _check_unique(fields, "skus", request.skus)
        for index, item_id in enumerate(request.item_ids):
            fields.text(f"item_ids[{index}]", item_id, longest=limits.ITEM_ID_LENGTH, required=True)
        _check_unique(fields, "item_ids", request.item_ids)
    names = [*request.skus, *map(name_of_item, request.item_ids)]
    since = _since(fields, request.resume_token, _AVAILABILITY, [request.channel_id, *names])
    heartbeat = _heartbeat(fields, request.heartbeat_interval, given=request.HasField("heartbeat_interval"))
    fields.finish()
    skus = frozenset(names) or None
    return AvailabilitySubscription(
        request.channel_id, skus, since, heartbeat, request.internal, request.include_outlets
    )


def order_subscription(request: allocation_pb.WatchOrdersRequest) -> OrderSubscription:
    """Raises InvalidFields with everything that is wrong."""
    fields = Fields()
    if fields.size("channel_ids", request.channel_ids, 0, limits.WATCHED_CHANNELS):
        for index, channel_id in enumerate(request.channel_ids):
            fields.text(f"channel_ids[{index}]", channel_id, longest=limits.ID_LENGTH, required=True)
        _check_unique(fields, "channel_ids", request.channel_ids)
    since = _since(fields, request.resume_token, _ORDERS, request.channel_ids)
    heartbeat = _heartbeat(fields, request.heartbeat_interval, given=request.HasField("heartbeat_interval"))
    fields.finish()
    return OrderSubscription(frozenset(request.channel_ids), since, heartbeat)


class Tokens:
    """Resume tokens of one stream. A token states that every change of transactions before `since` has been sent."""

    def __init__(self, subscription: AvailabilitySubscription | OrderSubscription) -> None:
        if isinstance(subscription, AvailabilitySubscription):
            self._prefix = f"{_AVAILABILITY}.{_fingerprint([subscription.channel_id, *(subscription.skus or ())])}"
        else:
            self._prefix = f"{_ORDERS}.{_fingerprint(subscription.channel_ids)}"

    def at(self, since: int) -> str:
        """The token for a transaction, opaque to callers."""
        return base64.urlsafe_b64encode(f"{self._prefix}.{since}".encode()).decode().rstrip("=")


def _since(fields: Fields, token: str, kind: str, watched: Sequence[str]) -> int | None:
    if not token:
        return None
    try:
        plain = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        plain = ""
    match = _TOKEN.fullmatch(plain) if len(token) <= limits.TEXT_LENGTH else None
    if match is None or match[1] != kind or int(match[3]) >= 1 << 63:
        fields.wrong("resume_token", "is not a resume_token of this call; leave it out to start over")
    # A token of another watch says nothing about these SKUs or channels. Accepting it would skip changes that the
    # caller has never received.
    elif match[2] != _fingerprint(watched):
        fields.wrong("resume_token", "belongs to a watch of other SKUs or channels; leave it out to start over")
    else:
        return int(match[3])
    return None


def _fingerprint(watched: Iterable[str]) -> str:
    """Eight characters of a hash of the watched ids, to detect a token of another watch."""
    return hashlib.sha256("\x1f".join(sorted(watched)).encode()).hexdigest()[:8]


def _heartbeat(fields: Fields, value: Duration, *, given: bool) -> timedelta:
    if not given:
        return limits.HEARTBEAT_DEFAULT
    seconds = value.seconds + value.nanos / 1e9
    shortest, longest = limits.HEARTBEAT_SHORTEST.total_seconds(), limits.HEARTBEAT_LONGEST.total_seconds()
    if not shortest <= seconds <= longest:
        fields.wrong("heartbeat_interval", f"is {seconds:g} s; it must be {shortest:g} s to {longest / 60:g} min")
        return limits.HEARTBEAT_DEFAULT
    return timedelta(seconds=seconds)


def _check_unique(fields: Fields, field: str, values: Sequence[str]) -> None:
    first_index: dict[str, int] = {}
    for index, value in enumerate(values):
        if value in first_index:
            fields.wrong(f"{field}[{index}]", f"'{value}' is the same as {field}[{first_index[value]}]")
        first_index.setdefault(value, index)
