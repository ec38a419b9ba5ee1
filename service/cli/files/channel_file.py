"""The file of channels."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from policies.domain.channel_statuses import PLATFORMS
from service import limits
from service.cli.files.file_kind import Cells, CsvColumn, FileKind
from service.cli.spreadsheets.cell_text import join_list
from service.cli.spreadsheets.cell_values import (
    choice,
    entries_of,
    enum_words,
    identifier,
    markets,
    number,
    number_text,
    text,
    whole_number,
    word_of,
)
from truestock.v1.catalog_service_pb2 import CancellationDefault, Channel

_KINDS = enum_words(Channel.Kind.keys(), "KIND_", Channel.Kind.Value)
_DEFAULTS = enum_words(CancellationDefault.keys(), "CANCELLATION_DEFAULT_", CancellationDefault.Value)
_DEFAULT = "cancellation_default"
_UNPAID_MINUTES, _UNPAID_SECONDS = "unpaid_order_minutes", "unpaid_order_seconds"
_UNPAID_LONGEST = int(limits.UNPAID_ORDER_LONGEST.total_seconds())


def make_channel(cells: Cells) -> Channel:
    """A channel from one row."""
    seconds = cells.get(_UNPAID_SECONDS)
    if _UNPAID_MINUTES in cells:
        if seconds not in (None, cells[_UNPAID_MINUTES] * 60):
            raise ValueError(f"{_UNPAID_MINUTES} and {_UNPAID_SECONDS} differ; fill in one of them")
        seconds = cells[_UNPAID_MINUTES] * 60
    fields = {name: value for name, value in cells.items() if name not in (_UNPAID_MINUTES, _UNPAID_SECONDS)}
    return Channel(**fields, unpaid_order_duration=None if seconds is None else Duration(seconds=seconds))


def channel_cells(channel: Channel) -> dict[str, str]:
    """A channel as one row."""
    cells = {
        "channel_id": channel.channel_id,
        "kind": word_of(_KINDS, channel.kind),
        "display_name": channel.display_name,
        "location_ids": join_list(channel.location_ids),
        "platform": channel.platform,
        "figure_lag_seconds": str(channel.figure_lag_seconds),
        "markets": join_list(channel.markets),
    }
    if channel.HasField("cancellation_headroom"):
        cells["cancellation_headroom"] = number_text(channel.cancellation_headroom)
    if channel.cancellation_default:
        cells[_DEFAULT] = word_of(_DEFAULTS, channel.cancellation_default)
    if channel.HasField("unpaid_order_duration"):
        cells[_UNPAID_SECONDS] = str(channel.unpaid_order_duration.seconds)
    return cells


CHANNELS = FileKind(
    "channel",
    ("channel_id",),
    (
        CsvColumn("channel_id", identifier, "such as tiktok_shop", required=True),
        CsvColumn("kind", choice(_KINDS), "pos, web, social, marketplace or b2b", required=True),
        CsvColumn("display_name", text(limits.TEXT_LENGTH), "name for people", free_text=True),
        CsvColumn("location_ids", entries_of(identifier), "locations that it sells from, separated by |; all if empty"),
        CsvColumn(
            "cancellation_headroom",
            number(0, 1),
            "unused share of the allowed cancellations, 0 to 1; unknown if empty",
            decimal=True,
        ),
        CsvColumn(
            "platform",
            choice({word: word for word in PLATFORMS}),
            f"platform that defines the channel_status of orders: {', '.join(PLATFORMS)}; empty if another",
        ),
        CsvColumn(
            "figure_lag_seconds",
            whole_number(0, limits.FIGURE_LAG_SECONDS),
            "seconds until it shows a figure that was published to it",
        ),
        CsvColumn(
            _UNPAID_MINUTES,
            whole_number(1, _UNPAID_LONGEST // 60),
            "how long an order may wait for payment; empty if unknown",
            import_only=True,
        ),
        CsvColumn(
            _DEFAULT,
            choice(_DEFAULTS),
            "accept or decline: what becomes of a request to cancel that nobody has answered by its deadline; "
            "that of its platform if empty",
        ),
        CsvColumn(
            "markets", markets, "where its shoppers are: countries and regions such as US|US-HI; unknown if empty"
        ),
        CsvColumn(_UNPAID_SECONDS, whole_number(1, _UNPAID_LONGEST), "the same in seconds, as exports have it"),
    ),
    make_channel,
    channel_cells,
    {"unpaid_order_duration": _UNPAID_SECONDS},
)
