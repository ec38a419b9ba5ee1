"""A StockChange that a source reports for one product at one location, checked and turned into plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from policies.domain.listings import ItemKey, Listing
from policies.stock.counting import MOVEMENT_SIGNS, SETTING_ASIDE_SIGNS
from policies.stock.feeds import Feed
from policies.stock.unavailable import OTHER, REASONS
from service import limits
from service.catalog import listing_requests
from service.rpc.validation import Fields
from truestock.v1 import stock_service_pb2 as stock_pb

_KINDS = {getattr(stock_pb, f"MOVEMENT_KIND_{kind.upper()}"): kind for kind in (*MOVEMENT_SIGNS, *SETTING_ASIDE_SIGNS)}
CORRECTIONS = frozenset(("found", "damaged", "lost", "adjusted", *SETTING_ASIDE_SIGNS))
"""Kinds of movements that correct figures; the others are trade: units that came, left or were sold."""
_REASONS = {0: OTHER, **{getattr(stock_pb, f"UNAVAILABLE_REASON_{reason.upper()}"): reason for reason in REASONS}}


@dataclass(frozen=True, slots=True)
class ReportedCount:
    """Counted units. `unavailable_total`, and `unavailable` by reason, are None if not stated.

    `orders_until` is the watermark of a feed that is net of open orders. `computed` says whether a program wrote the
    figure (True) or a person counted (False); None: as the declaration of the feed says.
    """

    units: int
    unavailable_total: int | None = None
    unavailable: Mapping[str, int] | None = None
    computed: bool | None = None
    orders_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReportedMovement:
    """Units that came, left, or were set aside or put back for a reason."""

    kind: str
    units: int
    reason: str | None = None
    incoming_reference: str | None = None


@dataclass(frozen=True, slots=True)
class ReportedIncoming:
    """All units of one delivery that have not arrived yet."""

    reference: str
    units: int
    expect_time: datetime | None


@dataclass(frozen=True, slots=True)
class StockChange:
    """One change that a source reports: a count, a movement or both, or `incoming`, or `untracked`.

    `content` is the serialized StockChange message. `item` is the channel's item that it names instead of a SKU; the
    SKU is then empty, and its counts are items, until `in_units` gives it those of the item's listing.
    """

    source: str
    change_id: str
    sku: str
    location_id: str
    effective_time: datetime
    content: bytes
    sequence: int | None = None
    count: ReportedCount | None = None
    movement: ReportedMovement | None = None
    incoming: ReportedIncoming | None = None
    untracked: bool = False
    item: ItemKey | None = None

    @property
    def subject(self) -> str:
        """The product or item that it is about, as a noun and its id."""
        if self.item is None:
            return f"product '{self.sku}'"
        return f"item '{self.item[1]}' of channel '{self.item[0]}'"

    def in_units(self, listing: Listing | None) -> StockChange:
        """The change of an item in units of its SKU; unchanged if it names a SKU, or if no listing maps the item."""
        if self.item is None or listing is None:
            return self
        each, count, movement, incoming = listing.unit_count, self.count, self.movement, self.incoming
        return replace(
            self,
            sku=listing.sku,
            count=None if count is None else _multiplied(count, each),
            movement=None if movement is None else replace(movement, units=movement.units * each),
            incoming=None if incoming is None else replace(incoming, units=incoming.units * each),
        )

    def is_by_hand(self, feed: Feed) -> bool:
        """Whether a person counted or corrected it, as far as the change or its feed says: no sale, no receipt."""
        if self.count is not None:
            return not (feed.computed if self.count.computed is None else self.count.computed)
        return self.untracked or (self.movement is not None and self.movement.kind in CORRECTIONS)

    @property
    def largest_count(self) -> int:
        """The largest number of units that it reports."""
        reports = (self.count, self.movement, self.incoming)
        return max((abs(report.units) for report in reports if report is not None), default=0)

    @property
    def subject_key(self) -> tuple[str, str]:
        """(What it is about, location id)."""
        return self.subject, self.location_id

    @property
    def key(self) -> tuple[str, str]:
        """(SKU, location id)."""
        return self.sku, self.location_id


def _multiplied(count: ReportedCount, factor: int) -> ReportedCount:
    total, reasons = count.unavailable_total, count.unavailable
    return replace(
        count,
        units=count.units * factor,
        unavailable_total=None if total is None else total * factor,
        unavailable=None if reasons is None else {reason: units * factor for reason, units in reasons.items()},
    )


def checked_change(fields: Fields, at: str, source: str, change: stock_pb.StockChange) -> StockChange | None:
    """The change, or None after adding its problems to `fields`."""
    before = len(fields.violations)
    fields.text(f"{at}.change_id", change.change_id, longest=limits.CHANGE_ID_LENGTH, required=True)
    item = _item(fields, at, change)
    fields.text(f"{at}.location_id", change.location_id, longest=limits.ID_LENGTH, required=True)
    is_given = change.HasField("effective_time")
    effective_time = fields.moment(f"{at}.effective_time", change.effective_time, given=is_given)
    count, movement, incoming = _reported(fields, at, change)
    if count is not None and count.orders_until and effective_time and count.orders_until > effective_time:
        problem = "is after effective_time; give the time of the last order that the count includes"
        fields.wrong(f"{at}.{change.WhichOneof('change')}.orders_until_time", problem)
    if len(fields.violations) > before or effective_time is None:
        return None
    return StockChange(
        source=source,
        change_id=change.change_id,
        sku=change.sku,
        location_id=change.location_id,
        effective_time=effective_time,
        content=change.SerializeToString(deterministic=True),
        sequence=change.sequence if change.HasField("sequence") else None,
        count=count,
        movement=movement,
        incoming=incoming,
        untracked=change.WhichOneof("change") == "untracked",
        item=item,
    )


def _item(fields: Fields, at: str, change: stock_pb.StockChange) -> ItemKey | None:
    """The item that a change names; None if it names a SKU. It must name one of the two."""
    if not change.item_id:
        fields.sku(f"{at}.sku", change.sku)
        if change.channel_id:
            fields.wrong(f"{at}.channel_id", "is only for a change of an item; name it in item_id, or omit the channel")
        return None
    if change.sku:
        fields.wrong(f"{at}.item_id", "name either sku or item_id")
    return listing_requests.item_key(fields, f"{at}.", change.channel_id, change.item_id)


def stored_change(source: str, content: bytes) -> StockChange | None:
    """A change from its stored message; None if the current limits refuse it."""
    return checked_change(Fields(), "change", source, stock_pb.StockChange.FromString(content))


def _reported(
    fields: Fields, at: str, change: stock_pb.StockChange
) -> tuple[ReportedCount | None, ReportedMovement | None, ReportedIncoming | None]:
    match change.WhichOneof("change"):
        case "count":
            return _count(fields, f"{at}.count", change.count), None, None
        case "movement":
            return None, _movement(fields, f"{at}.movement", change.movement), None
        case "counted_movement":
            return *_counted_movement(fields, f"{at}.counted_movement", change.counted_movement), None
        case "incoming":
            return None, None, _incoming(fields, f"{at}.incoming", change.incoming)
        case "untracked":
            return None, None, None
        case _:
            problem = "must be a count, a movement, a counted_movement, incoming units or untracked"
            fields.wrong(f"{at}.change", problem)
            return None, None, None


def _counted_movement(
    fields: Fields, at: str, message: stock_pb.CountedMovement
) -> tuple[ReportedCount, ReportedMovement]:
    for name in ("movement", "count"):
        if not message.HasField(name):
            fields.wrong(f"{at}.{name}", "must not be empty")
    movement = _movement(fields, f"{at}.movement", message.movement)
    if movement.kind in SETTING_ASIDE_SIGNS:
        fields.wrong(f"{at}.movement.kind", "does not change on hand; send it as a separate movement")
    return _count(fields, f"{at}.count", message.count), movement


def _count(fields: Fields, at: str, count: stock_pb.StockCount) -> ReportedCount:
    fields.whole_number(f"{at}.on_hand_count", count.on_hand_count, 0, limits.COUNTED_UNITS)
    total = count.unavailable_count if count.HasField("unavailable_count") else None
    if total is not None and not 0 <= total <= count.on_hand_count:
        problem = f"is {total}; it must be 0 to on_hand_count, {count.on_hand_count}"
        fields.wrong(f"{at}.unavailable_count", problem)
    until = None
    if count.HasField("orders_until_time"):
        until = fields.moment(f"{at}.orders_until_time", count.orders_until_time, given=True)
    by_reason = _by_reason(fields, at, count) if count.unavailable else None
    computed = count.computed if count.HasField("computed") else None
    return ReportedCount(count.on_hand_count, total, by_reason, computed, until)


def _by_reason(fields: Fields, at: str, count: stock_pb.StockCount) -> dict[str, int]:
    """Units by reason, each reason once; their sum is at most on hand and equals a stated total."""
    units: dict[str, int] = {}
    if not fields.size(f"{at}.unavailable", count.unavailable, 0, len(REASONS)):
        return units
    for index, entry in enumerate(count.unavailable):
        where = f"{at}.unavailable[{index}]"
        reason = _reason(fields, f"{where}.reason", entry.reason)
        fields.whole_number(f"{where}.unit_count", entry.unit_count, 0, limits.COUNTED_UNITS)
        if reason in units:
            fields.wrong(f"{where}.reason", f"'{reason}' is given twice; give each reason once")
        units[reason] = entry.unit_count
    total = sum(units.values())
    if total > count.on_hand_count:
        fields.wrong(f"{at}.unavailable", f"is {total} in all; on_hand_count is {count.on_hand_count}")
    if count.HasField("unavailable_count") and total != count.unavailable_count:
        fields.wrong(f"{at}.unavailable", f"is {total} in all; unavailable_count is {count.unavailable_count}")
    return units


def _movement(fields: Fields, at: str, movement: stock_pb.StockMovement) -> ReportedMovement:
    kind = _KINDS.get(movement.kind, "")
    if not kind:
        fields.wrong(f"{at}.kind", "must be a MovementKind, such as MOVEMENT_KIND_RECEIVED")
    minimum = -limits.COUNTED_UNITS if kind == "adjusted" else 1
    fields.whole_number(f"{at}.unit_count", movement.unit_count, minimum, limits.COUNTED_UNITS)
    if movement.unit_count == 0:
        fields.wrong(f"{at}.unit_count", "must not be 0")
    reason = _reason(fields, f"{at}.reason", movement.reason)
    if movement.reason and kind not in SETTING_ASIDE_SIGNS:
        fields.wrong(f"{at}.reason", "applies only to units set aside or put back; omit it")
    reference = fields.text(f"{at}.incoming_reference", movement.incoming_reference, longest=limits.CHANGE_ID_LENGTH)
    if reference and kind != "received":
        fields.wrong(f"{at}.incoming_reference", "applies only to received units; omit it")
    return ReportedMovement(kind, movement.unit_count, reason if kind in SETTING_ASIDE_SIGNS else None, reference)


def _incoming(fields: Fields, at: str, incoming: stock_pb.IncomingUnits) -> ReportedIncoming:
    fields.text(f"{at}.reference", incoming.reference, longest=limits.CHANGE_ID_LENGTH, required=True)
    fields.whole_number(f"{at}.unit_count", incoming.unit_count, 0, limits.COUNTED_UNITS)
    expect_time = None
    if incoming.HasField("expect_time"):
        expect_time = fields.moment(f"{at}.expect_time", incoming.expect_time, given=True)
    return ReportedIncoming(incoming.reference, incoming.unit_count, expect_time)


def _reason(fields: Fields, at: str, number: int) -> str:
    if number not in _REASONS:
        fields.wrong(at, "must be an UnavailableReason, such as UNAVAILABLE_REASON_DAMAGED")
    return _REASONS.get(number, OTHER)
