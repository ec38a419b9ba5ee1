"""Requests about what channels show, checked and turned into plain values, and figures as messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from service import limits
from service.rpc.page_tokens import PageTokens
from service.rpc.proto_values import timestamp
from service.rpc.validation import Fields
from truestock.v1 import channel_figure_pb2 as figure_pb


@dataclass(frozen=True, slots=True)
class StatedFigure:
    """A count that a channel was seen to show; ids that were not named are empty, `time` None is now."""

    sku: str
    item_id: str
    outlet_id: str
    count: int
    time: datetime | None


@dataclass(frozen=True, slots=True)
class FiguresRequest:
    """A checked RecordChannelFigures request."""

    channel_id: str
    figures: tuple[StatedFigure, ...]
    request_id: UUID | None


@dataclass(frozen=True, slots=True)
class FiguresPage:
    """Which figures to list: at most `count` after a position; without `skus`, those of all products."""

    channel_id: str
    skus: Sequence[str]
    with_history: bool
    count: int
    after: tuple[str, str, str, datetime]
    tokens: PageTokens


def figures_request(request: figure_pb.RecordChannelFiguresRequest) -> FiguresRequest:
    """Raises InvalidFields with everything that is wrong."""
    fields = Fields()
    channel_id = fields.text("channel_id", request.channel_id, longest=limits.ID_LENGTH, required=True) or ""
    request_id = fields.uuid("request_id", request.request_id)
    figures: list[StatedFigure] = []
    keys: dict[tuple[str, str, str], int] = {}
    if fields.size("figures", request.figures, 1, limits.CHANNEL_FIGURES):
        for index, figure in enumerate(request.figures):
            at, key = f"figures[{index}]", (figure.sku, figure.item_id, figure.outlet_id)
            if key in keys:
                fields.wrong(at, f"is of the same SKU, item and outlet as figures[{keys[key]}]; send the newest")
            keys.setdefault(key, index)
            figures.append(_figure(fields, at, figure))
    fields.finish()
    return FiguresRequest(channel_id, tuple(figures), request_id)


def _figure(fields: Fields, at: str, figure: figure_pb.ChannelFigure) -> StatedFigure:
    item_id = fields.text(f"{at}.item_id", figure.item_id, longest=limits.ITEM_ID_LENGTH) or ""
    sku = fields.text(f"{at}.sku", figure.sku, longest=limits.SKU_LENGTH) or ""
    if not sku and not figure.item_id:
        fields.wrong(f"{at}.sku", "must not be empty; name the SKU, or the channel's item by item_id")
    outlet_id = fields.text(f"{at}.outlet_id", figure.outlet_id, longest=limits.ITEM_ID_LENGTH) or ""
    fields.whole_number(f"{at}.shown_count", figure.shown_count, 0, limits.COUNTED_UNITS)
    time = None
    if figure.HasField("observe_time"):
        time = fields.past_moment(f"{at}.observe_time", figure.observe_time)
    return StatedFigure(sku, item_id, outlet_id, figure.shown_count, time)


def figures_page(request: figure_pb.ListChannelFiguresRequest) -> FiguresPage:
    """Raises InvalidFields."""
    fields = Fields()
    channel_id = fields.text("channel_id", request.channel_id, longest=limits.ID_LENGTH, required=True) or ""
    if fields.size("skus", request.skus, 0, limits.SKUS):
        for index, sku in enumerate(request.skus):
            fields.text(f"skus[{index}]", sku, longest=limits.SKU_LENGTH, required=True)
    count, tokens = fields.page_size(request.page_size), PageTokens(request)
    after = tokens.three_names_and_time(fields) or ("", "", "", limits.EARLIEST)
    fields.finish()
    return FiguresPage(channel_id, list(request.skus), request.include_history, count, after, tokens)


def shown_message(row: asyncpg.Record) -> figure_pb.ShownFigure:
    """A row of a page as a message."""
    return figure_pb.ShownFigure(
        figure=figure_pb.ChannelFigure(
            sku=row["sku"],
            item_id=row["item_id"],
            outlet_id=row["outlet_id"],
            shown_count=row["shown"],
            observe_time=timestamp(row["last_time"]),
        ),
        first_observe_time=timestamp(row["first_time"]),
        unit_count=row["unit_count"],
        published_count=row["sellable"],
        publish_time=timestamp(row["publish_time"]),
    )
