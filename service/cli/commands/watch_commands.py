"""Commands that watch availability or orders until Ctrl-C and print one line for each change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from service.cli import options, resuming_stream
from service.cli.client import Client, call
from service.cli.console import enum_word, format_time, print_json_line, print_line, say
from truestock.v1.allocation_service_pb2 import Allocation, OrderChange, WatchOrdersRequest, WatchOrdersResponse
from truestock.v1.availability_service_pb2 import WatchAvailabilityRequest, WatchAvailabilityResponse
from truestock.v1.exception_pb2 import ExceptionRecord
from truestock.v1.order_pb2 import Outcome

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Watches availability or orders and prints each change, until Ctrl-C.

    \b
    Examples:
      truestock watch availability TRN-1205-MOS --channel tiktok_shop
      truestock watch orders --channel shopify
    """,
)

JsonLines = Annotated[
    bool, typer.Option("--json", help="Print one JSON object for each change, with the field names of the API.")
]


@app.command()
def availability(
    channel: options.ChannelId,
    skus: Annotated[
        list[str] | None, typer.Argument(metavar="[SKU…]", help="At most 10,000; all SKUs by default.")
    ] = None,
    item: Annotated[
        list[str] | None, typer.Option("--item", help="One of the channel's items, by its id; repeatable.")
    ] = None,
    outlets: Annotated[bool, typer.Option("--outlets", help="Also print the units of each outlet.")] = False,
    server: options.Server = options.SERVER,
    as_json: JsonLines = False,
) -> None:
    """Prints how many units a channel may sell of each SKU, and every change of it, until Ctrl-C.

    After a break it reconnects and prints the changes in between.

    \b
    Examples:
      truestock watch availability --channel tiktok_shop
      truestock watch availability TRN-1205-MOS --channel shopify --json
      truestock watch availability --channel tiktok_shop --outlets
    """

    def request(token: str) -> WatchAvailabilityRequest:
        return WatchAvailabilityRequest(
            channel_id=channel,
            skus=skus or [],
            item_ids=item or [],
            resume_token=token,
            heartbeat_interval=_heartbeat(),
            internal=True,
            include_outlets=outlets,
        )

    unknown_skus: set[str] = set()
    unknown_items: set[str] = set()

    def show(message: WatchAvailabilityResponse) -> Iterable[str | Message]:
        for sku in set(message.unknown_skus) - unknown_skus:
            say(f"There is no product {sku!r} yet; it is printed once the catalog has it.")
        unknown_skus.update(message.unknown_skus)
        for item_id in set(message.unknown_item_ids) - unknown_items:
            say(f"There is no listing of item {item_id!r} yet; it is printed once there is one.")
        unknown_items.update(message.unknown_item_ids)
        if as_json:
            return message.changes
        read = format_time(message.read_time)
        return [
            f"{read}  {change.sku or change.item_id:<24}  {change.sellable_count:>7,} sellable  "
            f"{change.largest_single_order_count:>7,} in one order  version {change.version}"
            + "".join(f"  {outlet.outlet_id or 'no outlet'}: {outlet.sellable_count:,}" for outlet in change.outlets)
            for change in message.changes
        ]

    _watch(server, lambda client, token: client.availability.WatchAvailability(request(token)), show)


@app.command()
def orders(
    channel: Annotated[list[str] | None, typer.Option("--channel", help="Only this channel; repeatable.")] = None,
    server: options.Server = options.SERVER,
    as_json: JsonLines = False,
) -> None:
    """Prints every change of orders and exceptions from now on, until Ctrl-C.

    After a break it reconnects and prints the changes in between; a line may
    then be printed twice.

    \b
    Examples:
      truestock watch orders
      truestock watch orders --channel tiktok_shop --json
    """

    def request(token: str) -> WatchOrdersRequest:
        return WatchOrdersRequest(channel_ids=channel or [], resume_token=token, heartbeat_interval=_heartbeat())

    def show(message: WatchOrdersResponse) -> Iterable[str | Message]:
        if as_json:
            return [*message.changes, *message.exceptions]
        lines = [line for change in message.changes for line in _order_lines(change)]
        return [*lines, *map(_exception_line, message.exceptions)]

    _watch(server, lambda client, token: client.allocations.WatchOrders(request(token)), show)


def _watch(server: str, start: Callable[[Client, str], Any], show: Callable[[Any], Iterable[str | Message]]) -> None:
    async def watch(client: Client) -> None:
        async for message in resuming_stream.messages(client, lambda token: start(client, token)):
            for line in show(message):
                if isinstance(line, str):
                    print_line(line)
                else:
                    print_json_line(line)

    call(server, watch)


def _order_lines(change: OrderChange) -> list[str]:
    """One line for each event; one line with the state if time or an exception changed the order."""
    allocation = change.allocation
    state = enum_word(Allocation.State, allocation.state, "STATE_")
    outcome = enum_word(Outcome, allocation.outcome, "OUTCOME_")
    order = f"{allocation.channel_id}/{allocation.order_id}"
    lines = [
        f"{format_time(event.event_time)}  {order:<24}  {event.event:<12}  {event.description}"
        for event in change.events
    ]
    if not lines:
        lines = [f"{format_time(allocation.update_time)}  {order:<24}  {state:<12}  {outcome}"]
    return [*lines, *(_exception_line(exception, order) for exception in change.exceptions)]


def _exception_line(exception: ExceptionRecord, order: str = "") -> str:
    subject = order or exception.sku or exception.location_id or exception.source or "-"
    state = enum_word(ExceptionRecord.State, exception.state, "STATE_")
    text = f"{state}, owner {exception.owner}: {exception.description}"
    return f"{format_time(exception.update_time)}  {subject:<24}  {exception.kind:<12}  {text}"


def _heartbeat() -> Duration:
    return Duration(seconds=resuming_stream.HEARTBEAT_SECONDS)
