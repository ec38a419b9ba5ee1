"""Exceptions of an order, with what the exception rules say about them: owner, action and due time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import asyncpg
from sqlalchemy import Text, literal_column, select

from policies.decisions.exception_policy import ExceptionHandling, handling_of
from policies.domain.model import Channel, Context, Product
from policies.explanation import FiredRule, unit_count_text
from policies.policy_set import PolicySet
from policies.stock.oversell import UNMAPPED
from service.database.database import Connection, Statement, any_of
from service.database.tables import exception, exception_record
from service.exceptions.exception_model import OPEN, POLICY, RESOLVED, ExceptionEvent, resolution_text
from service.exceptions.incidents import Incident
from service.orders.allocation_record import AllocationRecord, LineRecord, ShortageRecord
from service.orders.order_lines import ITEM_FORM, SKU_FORM, is_possible_item, is_possible_sku
from service.orders.short_wholes import ShortPart, Whole

CANCELLED_AFTER_SHIPPING = "cancelled_after_shipping"
"""The kind of an exception about shipped units that the channel does not order any more."""
KINDS_OF_SHORTAGE = ("oversell", "blocked_by_rule", "held_by_buffer", "unfillable")
_BY_POLICY = ("backorder", "cancel")
"""Actions that leave nothing to a person, the one that ends less first."""


@dataclass(frozen=True, slots=True)
class OrderException:
    """One exception of an order. `handling` is what the rules of `policy_revision` say about it.

    `resolution` is how a policy resolved it at once; if it is None, a person must. `line_ids` are the lines of the
    order that it concerns, all if empty; `sku` is set where it concerns one product.
    """

    kind: str
    description: str
    handling: ExceptionHandling
    due_time: datetime
    policy_revision: str
    resolution: str | None = None
    note: str = ""
    shipment_id: UUID | None = None
    channel_id: str | None = None
    location_id: str | None = None
    sku: str | None = None
    line_ids: tuple[str, ...] = ()
    id: UUID | None = None
    """Its id, where something else refers to it; None if it gets one when it is raised."""

    @property
    def needs_person(self) -> bool:
        """Whether no policy has resolved it."""
        return self.resolution is None

    @property
    def rule(self) -> str:
        """The rule that decided, and its file and line."""
        handling = self.handling
        return handling.rule if handling.is_built_in else f"{handling.rule} ({handling.source})"

    def row(self, id: UUID, allocation_id: UUID, now: datetime) -> tuple[object, ...]:
        """Its row in the table `exception`."""
        handling = self.handling
        subject = (
            self.shipment_id,
            self.channel_id,
            self.sku,
            self.location_id,
            list(self.line_ids) or None,
        )
        rule = (handling.owner, self.due_time, handling.escalate_to, handling.action, self.rule)
        state = OPEN if self.needs_person else RESOLVED
        resolved = (None, None) if self.needs_person else (POLICY, now)
        resolution = (state, self.needs_person, self.resolution, *resolved, self.note or None)
        start = (id, allocation_id, self.kind, self.description, self.policy_revision, now)
        return (*start, *subject, *rule, *resolution)

    def first_events(self, id: UUID) -> list[ExceptionEvent]:
        """The first events of its history, under its id."""
        raised = [ExceptionEvent(id, "raised", POLICY, self.description)]
        if self.resolution is None:
            return raised
        return [*raised, ExceptionEvent(id, "resolved", POLICY, self.note or resolution_text(self.resolution))]


def of_shortages(
    policy_set: PolicySet,
    context: Context,
    parts: Iterable[ShortPart],
    products: Mapping[str, Product],
    kit_skus: Mapping[str, str],
) -> list[tuple[OrderException, list[ShortPart]]]:
    """One exception for all shortages of a kind that one rule handles; rules may test the product of each.

    `kit_skus` are the kits of lines that are components of one, by line id. Of the rules for the missing parts of a kit
    or an item, the one that leaves most to a person handles them all: neither is cancelled in part.
    """
    groups: dict[tuple[str, str], tuple[ExceptionHandling, list[ShortPart]]] = {}
    by_kind = sorted(parts, key=lambda part: KINDS_OF_SHORTAGE.index(part.short.kind))
    handlings = [
        handling_of(policy_set, replace(context, product=products.get(part.short.sku), exception_kind=part.short.kind))
        for part in by_kind
    ]
    for part, handling in zip(by_kind, _of_wholes(by_kind, handlings), strict=True):
        groups.setdefault((part.short.kind, handling.rule), (handling, []))[1].append(part)
    found = []
    for (kind, _), (handling, group) in groups.items():
        short = [part.short for part in group]
        exception = _exception(policy_set, context, kind, _shortage_description(short, kit_skus), handling)
        found.append((_with_lines(exception, short), group))
    return found


def _of_wholes(parts: Sequence[ShortPart], handlings: Sequence[ExceptionHandling]) -> list[ExceptionHandling]:
    """How each part is handled if those of one kit or item are all handled alike."""
    of_wholes: dict[Whole, ExceptionHandling] = {}
    for part, handling in zip(parts, handlings, strict=True):
        if part.whole is not None:
            others = of_wholes.setdefault(part.whole, handling)
            of_wholes[part.whole] = max(others, handling, key=_left_to_a_person)
    return [
        handling if part.whole is None else of_wholes[part.whole]
        for part, handling in zip(parts, handlings, strict=True)
    ]


def _left_to_a_person(handling: ExceptionHandling) -> int:
    """How much an action leaves to a person. A kit of which a component is cancelled waits for the others in vain."""
    return _BY_POLICY.index(handling.action) if handling.action in _BY_POLICY else len(_BY_POLICY)


def of_reviews(policy_set: PolicySet, context: Context, reviews: Sequence[FiredRule]) -> list[OrderException]:
    """One exception for each review rule that holds for the plan."""
    return [of_review(policy_set, context, f"review rule {rule.name} ({rule.source})") for rule in reviews]


def of_rejection(policy_set: PolicySet, context: Context, description: str) -> OrderException:
    """An exception for units that a location could not supply; the context names the location."""
    handling = handling_of(policy_set, replace(context, exception_kind="rejected"))
    return _exception(policy_set, context, "rejected", description, handling)


def of_review(policy_set: PolicySet, context: Context, description: str) -> OrderException:
    """An exception for a plan that a person must approve before it ships."""
    return of_kind(policy_set, context, "review", description)


def of_kind(policy_set: PolicySet, context: Context, kind: str, description: str) -> OrderException:
    """An exception of this kind, with what the rules say about it."""
    handling = handling_of(policy_set, replace(context, exception_kind=kind))
    return _exception(policy_set, context, kind, description, handling)


def _exception(
    policy_set: PolicySet, context: Context, kind: str, description: str, handling: ExceptionHandling
) -> OrderException:
    return OrderException(
        kind=kind,
        description=description,
        handling=handling,
        due_time=context.now + handling.due_in,
        policy_revision=policy_set.revision,
        channel_id=context.channel.id if context.channel else None,
        location_id=context.location.id if context.location else None,
    )


def _with_lines(raised: OrderException, shortages: Sequence[ShortageRecord]) -> OrderException:
    """The exception with the lines that it concerns, and their SKU if they share one."""
    skus = {short.sku for short in shortages}
    line_ids = tuple(dict.fromkeys(short.line_id for short in shortages))
    return replace(raised, sku=skus.pop() if len(skus) == 1 else None, line_ids=line_ids)


def _shortage_description(shortages: Sequence[ShortageRecord], kits: Mapping[str, str]) -> str:
    skus = ", ".join(sorted({_named(short.sku, kits.get(short.line_id)) for short in shortages}))
    rules = list(dict.fromkeys(rule for short in shortages for rule in short.rules))
    plural = "s" if len(rules) > 1 else ""
    kept = f"; {_KEPT[shortages[0].kind]}{plural} {', '.join(rules)}" if shortages[0].kind in _KEPT else ""
    return f"{unit_count_text(sum(short.unit_count for short in shortages))} short: {skus}{kept}"


def _named(sku: str, kit_sku: str | None) -> str:
    return sku if kit_sku is None else f"{sku} (a component of kit {kit_sku})"


_KEPT = {
    "held_by_buffer": "in stock, but held back by the buffer rule",
    "blocked_by_rule": "in stock, but blocked by the exposure rule",
}


UNMAPPED_PRODUCT = "unmapped_product"
ITEM_SUBJECT = "item "
"""Before the channel and the id of an item, which may be those of a SKU too."""


def unmapped_products(record: AllocationRecord, channel: Channel) -> list[Incident]:
    """The exceptions for what the lines of an order name that the catalog does not have, or can never have.

    All orders of a SKU, or of an item of a channel, share one. A line that names neither has one of its own.
    """
    lines: dict[tuple[str, str], LineRecord] = {}
    for short in record.shortages:
        if short.cause == UNMAPPED:
            line = record.line(short.line_id)
            lines[short.sku, line.item.item_id if line.item is not None else ""] = line
    return [_unmapped(record, lines[name], channel) for name in sorted(lines)]


def _unmapped(record: AllocationRecord, line: LineRecord, channel: Channel) -> Incident:
    if line.item is None or line.item.is_mapped:
        return _unmapped_product(record, line.sku, line.line_id, channel)
    item_id = line.item.item_id
    advice = "map it to a SKU with UpsertListings or `truestock import listings`"
    if not is_possible_item(item_id):
        advice = f"no item can have this id ({ITEM_FORM}), so correct it in the channel and send the order again"
    sentence = f"{record.channel_id} sold the item '{item_id}', which is not mapped to a SKU: {advice}."
    subject = item_subject(record.channel_id, item_id)
    return Incident(UNMAPPED_PRODUCT, subject, sentence, channel, channel_id=record.channel_id)


def item_subject(channel_id: str, item_id: str) -> str:
    """The subject of exceptions about an item that is not mapped."""
    return f"{ITEM_SUBJECT}{channel_id}/{item_id}"


def _unmapped_product(record: AllocationRecord, sku: str, line_id: str, channel: Channel) -> Incident:
    advice = "add the product"
    if not is_possible_sku(sku):
        advice = f"no product can have this SKU ({SKU_FORM}), so correct it in the channel and send the order again"
    if not sku:
        order = f"{record.channel_id}/{record.order_id}"
        sentence = f"Line {line_id} of {order} was sold without a SKU: {advice}."
        subject = f"{order}, line {line_id}"
        return Incident(
            UNMAPPED_PRODUCT, subject, sentence, channel, channel_id=record.channel_id, allocation_id=record.id
        )
    sentence = f"{record.channel_id} sold '{sku}', which is not in the catalog: {advice}."
    return Incident(UNMAPPED_PRODUCT, sku, sentence, channel, channel_id=record.channel_id, sku=sku)


UNMAPPED_LOCATION = "unmapped_location"


def unmapped_outlet(record: AllocationRecord, outlet: tuple[str, str], channel: Channel) -> Incident:
    """An exception for an outlet, (channel id, outlet id), that an order was sold from and that its channel lacks.

    All orders of an outlet share one.
    """
    channel_id, outlet_id = outlet
    sentence = f"{channel_id} sold from its outlet '{outlet_id}', which is not in the catalog: add the outlet."
    return Incident(UNMAPPED_LOCATION, outlet_subject(outlet), sentence, channel, channel_id=record.channel_id)


def outlet_subject(outlet: tuple[str, str]) -> str:
    """The subject of exceptions about an outlet; no location has such an id."""
    return "/".join(outlet)


_of_kind = exception.c.kind.in_([literal_column(f"'{kind}'") for kind in (UNMAPPED_PRODUCT, UNMAPPED_LOCATION)])
_OF_SUBJECTS = Statement(
    select(*exception_record)
    .where(_of_kind, exception.c.subject == any_of("subjects", Text), exception.c.state == literal_column("'open'"))
    .order_by(exception.c.create_time, exception.c.id)
)


async def open_unmapped(connection: Connection, record: AllocationRecord) -> list[asyncpg.Record]:
    """The open exceptions about products and an outlet that an order waits for, because the catalog lacks them."""
    subjects = set()
    for short in record.shortages:
        if short.cause == UNMAPPED:
            item = record.line(short.line_id).item
            is_item = item is not None and not item.is_mapped
            subjects.add(item_subject(record.channel_id, item.item_id) if is_item and item else short.sku)
    if record.outlet is not None and not record.outlet.is_known:
        subjects.add(outlet_subject((record.channel_id, record.outlet.id)))
    return await _OF_SUBJECTS.rows(connection, subjects=sorted(subjects)) if subjects else []
