"""Oversells of a window with what would have avoided each, as messages of the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import asyncpg
from google.protobuf.timestamp_pb2 import Timestamp

from policies.reports import avoidance
from policies.reports.avoidance import CountedLevel, LateLoss, OversoldUnits, Remedy, RemedyKind
from policies.stock.oversell import OversellEvidence, PublishedFigure
from service import limits
from service.database.database import Connection
from service.reports import oversell_store
from service.reports.oversell_store import Pair, Publication
from service.reports.report_requests import ReportRequest
from service.rpc.proto_values import timestamp
from truestock.v1 import report_service_pb2 as report_pb

_KINDS: Mapping[RemedyKind, Any] = {
    kind: report_pb.OversellRemedy.Kind.Value(f"KIND_{kind.name}") for kind in RemedyKind
}


@dataclass(frozen=True, slots=True)
class OversellList:
    """The oversells of a report; `is_truncated` says that there are more."""

    oversells: Sequence[report_pb.Oversell] = ()
    is_truncated: bool = False


@dataclass(frozen=True, slots=True)
class _Context:
    """What is known beside the records: late losses, the least told and what was refused."""

    losses: Mapping[Publication, Sequence[LateLoss]] = field(default_factory=dict)
    least_told: Mapping[Pair, int] = field(default_factory=dict)
    refused: Mapping[Pair, int] = field(default_factory=dict)


async def read(connection: Connection, request: ReportRequest) -> OversellList:
    """What was oversold in the window of a report."""
    window = request.since, request.until
    rows = await oversell_store.oversells(connection, *window, request.channel_ids)
    oversold = [(row, units) for row in rows[: limits.REPORT_OVERSELLS] for units in _oversold(row)]
    # An order may lack several products.
    shown = sorted(oversold, key=lambda x: -x[1].short)[: limits.REPORT_OVERSELLS]
    if not shown:
        return OversellList()
    published = {(x.sku, figure.publish_time) for _, x in shown if (figure := _figure(x)) is not None}
    pairs = {(row["channel_id"], units.sku) for row, units in shown}
    context = _Context(
        await oversell_store.late_losses(connection, published),
        await oversell_store.least_told(connection, *window, pairs),
        await oversell_store.refused_units(connection, *window, pairs),
    )
    messages = [_message(row, units, context) for row, units in shown]
    return OversellList(messages, max(len(rows), len(oversold)) > limits.REPORT_OVERSELLS)


def _oversold(row: asyncpg.Record) -> Iterator[OversoldUnits]:
    for product in report_pb.OversellRecord.FromString(row["oversold"]).products:
        yield OversoldUnits(
            product.sku,
            product.cause,
            product.short_count,
            _evidence(product),
            [CountedLevel(x.location_id, _moment(x, "physical_count_time")) for x in product.levels if x.tracked],
            tuple(product.buffer_rules),
        )


def _evidence(product: report_pb.OversoldProduct) -> OversellEvidence | None:
    if not product.HasField("evidence"):
        return None
    x, figure = product.evidence, None
    if x.HasField("published"):
        told = x.published
        figure = PublishedFigure(told.sellable_count, told.publish_time.ToDatetime(UTC), told.policy_revision)
    units = (x.own_promised_count, x.other_promised_count)
    return OversellEvidence(x.sku, x.ordered_count, x.short_count, figure, *units, is_stale=x.stale)


def _figure(oversold: OversoldUnits) -> PublishedFigure | None:
    return None if oversold.evidence is None else oversold.evidence.published


def _moment(message: Any, name: str) -> datetime | None:
    value: Timestamp = getattr(message, name)
    return value.ToDatetime(UTC) if message.HasField(name) else None


def _message(row: asyncpg.Record, oversold: OversoldUnits, context: _Context) -> report_pb.Oversell:
    figure = _figure(oversold)
    losses = context.losses.get((oversold.sku, figure.publish_time), ()) if figure is not None else ()
    pair = (row["channel_id"], oversold.sku)
    return report_pb.Oversell(
        channel_id=row["channel_id"],
        order_id=row["order_id"],
        allocation_id=str(row["allocation_id"]),
        oversell_time=timestamp(row["count_time"]),
        sku=oversold.sku,
        short_count=oversold.short,
        cause=oversold.cause,
        remedies=[_remedy(remedy, pair, context) for remedy in avoidance.remedies(oversold, losses)],
    )


def _remedy(remedy: Remedy, pair: Pair, context: _Context) -> report_pb.OversellRemedy:
    message = report_pb.OversellRemedy(
        kind=_KINDS[remedy.kind],
        unit_count=remedy.units,
        rule=remedy.rule,
        source=remedy.source,
        max_age_minutes=remedy.max_age_minutes,
        location_id=remedy.location_id,
        since_time=timestamp(remedy.since) if remedy.since is not None else None,
    )
    if remedy.kind is RemedyKind.BUFFER:
        message.added_refusal_count = avoidance.added_refusals(remedy.units, context.least_told.get(pair))
        message.refused_count = context.refused.get(pair, 0)
    return message
