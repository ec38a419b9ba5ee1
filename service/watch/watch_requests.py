"""Watch requests, checked and turned into plain values, and resume tokens."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from google.protobuf.duration_pb2 import Duration

from service import limits
from service.availability.published_items import name_of_item
from service.errors import NotReady
from service.rpc.validation import Fields
from service.watch.watch_marks import Mark, WatchMarks
from truestock.v1 import allocation_service_pb2 as allocation_pb, availability_service_pb2 as availability_pb

_AVAILABILITY = "a1"
_ORDERS = "o1"
_TOKEN = re.compile(r"([a-z]\d+)\.([0-9a-f]{8})\.(\d{1,19})(?:\.([0-9a-f]{32})\.(\d{1,19}))?")
_NO_MARK = Mark(UUID(int=0), 1)
"""What versions that wrote no marks named in their tokens: no database has it."""


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """What a resume token says: every change of transactions before `since` was sent to its client.

    Everything that was sent had been committed before the `mark`.
    """

    since: int
    mark: Mark


@dataclass(frozen=True, slots=True)
class AvailabilitySubscription:
    """What availability to send: `skus` None is every product. `resume` is None for a watch that begins.

    Among SKUs are the names of items.

    `internal`: what is sent is not for the channel. `include_outlets`: the units of its outlets are sent too.
    """

    channel_id: str
    skus: frozenset[str] | None
    resume: ResumePoint | None
    heartbeat: timedelta
    internal: bool = False
    include_outlets: bool = False


@dataclass(frozen=True, slots=True)
class OrderSubscription:
    """Whose orders to send: no `channel_ids` is all channels. `resume` is None for a watch that begins."""

    channel_ids: frozenset[str]
    resume: ResumePoint | None
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
    resume = _resume(fields, request.resume_token, _AVAILABILITY, [request.channel_id, *names])
    heartbeat = _heartbeat(fields, request.heartbeat_interval, given=request.HasField("heartbeat_interval"))
    fields.finish()
    skus = frozenset(names) or None
    return AvailabilitySubscription(
        request.channel_id, skus, resume, heartbeat, request.internal, request.include_outlets
    )


def order_subscription(request: allocation_pb.WatchOrdersRequest) -> OrderSubscription:
    """Raises InvalidFields with everything that is wrong."""
    fields = Fields()
    if fields.size("channel_ids", request.channel_ids, 0, limits.WATCHED_CHANNELS):
        for index, channel_id in enumerate(request.channel_ids):
            fields.text(f"channel_ids[{index}]", channel_id, longest=limits.ID_LENGTH, required=True)
        _check_unique(fields, "channel_ids", request.channel_ids)
    resume = _resume(fields, request.resume_token, _ORDERS, request.channel_ids)
    heartbeat = _heartbeat(fields, request.heartbeat_interval, given=request.HasField("heartbeat_interval"))
    fields.finish()
    return OrderSubscription(frozenset(request.channel_ids), resume, heartbeat)


class Tokens:
    """Resume tokens of one stream, each with a mark; see ResumePoint for what they say."""

    def __init__(self, subscription: AvailabilitySubscription | OrderSubscription, marks: WatchMarks) -> None:
        self._marks = marks
        self._last = ""
        if isinstance(subscription, AvailabilitySubscription):
            self._prefix = f"{_AVAILABILITY}.{_fingerprint([subscription.channel_id, *(subscription.skus or ())])}"
        else:
            self._prefix = f"{_ORDERS}.{_fingerprint(subscription.channel_ids)}"

    async def of_message(self, since: int | None, poll_time: float, *, has_contents: bool) -> str:
        """The token of a message whose contents have been read; of a heartbeat, what polls had read by `poll_time`.

        It is empty while `since` is None, and stays the last one of a heartbeat while the database does not answer.
        Raises MarksLost and NotReady.
        """
        self._marks.raise_if_lost()
        if since is None:
            return ""
        try:
            return await self.after(time.monotonic() if has_contents else poll_time, since)
        except NotReady:
            self._marks.raise_if_lost()
            if has_contents:
                raise
            return self._last

    async def after(self, read_time: float, since: int) -> str:
        """The token, opaque to callers, of what was read by `read_time`. Raises MarksLost and NotReady."""
        mark = await self._marks.after(read_time)
        self._marks.raise_if_lost()
        plain = f"{self._prefix}.{since}.{mark.id.hex}.{mark.number}"
        self._last = base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")
        return self._last


def _resume(fields: Fields, token: str, kind: str, watched: Sequence[str]) -> ResumePoint | None:
    if not token:
        return None
    try:
        plain = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        plain = ""
    match = _TOKEN.fullmatch(plain) if len(token) <= limits.TEXT_LENGTH else None
    if match is None or match[1] != kind or max(int(match[3]), int(match[5] or 0)) >= 1 << 63:
        fields.wrong("resume_token", "is not a resume_token of this call; leave it out to start over")
    # A token of another watch says nothing about these SKUs or channels. Accepting it would skip changes that the
    # caller has never received.
    elif match[2] != _fingerprint(watched):
        fields.wrong("resume_token", "belongs to a watch of other SKUs or channels; leave it out to start over")
    else:
        return ResumePoint(int(match[3]), Mark(UUID(match[4]), int(match[5])) if match[4] else _NO_MARK)
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
