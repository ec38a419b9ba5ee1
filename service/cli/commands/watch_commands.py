"""Commands that watch until Ctrl-C: what a channel may be told, what happens to orders. One line for each change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from service.cli import options, resuming_stream
from service.cli.client import Client, call
from service.cli.console import clock, enum_word, print_json_line, print_line
from truestock.v1.allocation_service_pb2 import Allocation, OrderChange, WatchOrdersRequest, WatchOrdersResponse
from truestock.v1.availability_service_pb2 import WatchAvailabilityRequest, WatchAvailabilityResponse
from truestock.v1.exception_pb2 import ExceptionRecord
from truestock.v1.order_pb2 import Outcome

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Prints changes as they happen, until Ctrl-C.

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
    skus: Annotated[list[str] | None, typer.Argument(metavar="[SKU…]", help="All if left out; at most 10,000.")] = None,
    server: options.Server = options.SERVER,
    as_json: JsonLines = False,
) -> None:
    """Prints what a channel may be told of products, and every change of it.

    After a break it goes on with what has changed meanwhile.

    \b
    Examples:
      truestock watch availability --channel tiktok_shop
      truestock watch availability TRN-1205-MOS --channel shopify --json
    """

    def request(token: str) -> WatchAvailabilityRequest:
        return WatchAvailabilityRequest(
            channel_id=channel, skus=skus or [], resume_token=token, heartbeat_interval=_heartbeat()
        )

    def show(message: WatchAvailabilityResponse) -> Iterable[str | Message]:
        if as_json:
            return message.changes
        read = clock(message.read_time)
        return [
            f"{read}  {one.sku:<24}  {one.sellable_count:>7,} sellable  "
            f"{one.largest_single_order_count:>7,} in one order  version {one.version}"
            for one in message.changes
        ]

    _watch(server, lambda client, token: client.availability.WatchAvailability(request(token)), show)


@app.command()
def orders(
    channel: Annotated[
        list[str] | None, typer.Option("--channel", help="Only this channel's orders; repeat for more.")
    ] = None,
    server: options.Server = options.SERVER,
    as_json: JsonLines = False,
) -> None:
    """Prints what happens to orders and exceptions from now on.

    After a break it goes on with what has happened meanwhile; then a line may come twice.

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
    """One line for each event; one for the state where the clock or an exception changed it."""
    allocation = change.allocation
    state = enum_word(Allocation.State.Name(allocation.state), "STATE_")
    outcome = enum_word(Outcome.Name(allocation.outcome), "OUTCOME_")
    order = f"{allocation.channel_id}/{allocation.order_id}"
    lines = [f"{clock(one.event_time)}  {order:<24}  {one.event:<12}  {one.description}" for one in change.events]
    if not lines:
        lines = [f"{clock(allocation.update_time)}  {order:<24}  {state:<12}  {outcome}"]
    return [*lines, *(_exception_line(one, order) for one in change.exceptions)]


def _exception_line(one: ExceptionRecord, order: str = "") -> str:
    about = order or one.sku or one.location_id or one.source or "-"
    state = enum_word(ExceptionRecord.State.Name(one.state), "STATE_")
    return f"{clock(one.update_time)}  {about:<24}  {one.kind:<12}  {state}, with {one.owner}: {one.description}"


def _heartbeat() -> Duration:
    return Duration(seconds=resuming_stream.HEARTBEAT_SECONDS)
