"""Commands of feeds and channel adapters: report that something failed, and that it works again."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli import options
from service.cli.client import Client, call
from service.cli.console import count, print_json, say, stdout_console
from service.cli.views.exception_views import print_exception
from truestock.v1.exception_pb2 import SyncFailureKind
from truestock.v1.exception_service_pb2 import (
    ReportSyncFailureRequest,
    ReportSyncFailureResponse,
    ReportSyncRecoveryRequest,
    ReportSyncRecoveryResponse,
)
from truestock.v1.order_pb2 import OrderReference

_KINDS = options.enum_words(SyncFailureKind, "SYNC_FAILURE_KIND_")
Source = Annotated[str, typer.Argument(metavar="SOURCE", help="The feed or adapter.")]
Kind = Annotated[str, typer.Option("--kind", metavar="WHAT", help=f"What failed: {', '.join(_KINDS)}.")]
Channel = Annotated[str, typer.Option("--channel", metavar="CHANNEL", help="The channel that it concerns.")]
Order = Annotated[str, typer.Option("--order", metavar="CHANNEL/ORDER", help="The order, also one not arrived yet.")]
Sku = Annotated[str, typer.Option("--sku", metavar="SKU", help="The product that it concerns.")]
Location = Annotated[str, typer.Option("--location", metavar="LOCATION", help="The location that it concerns.")]


def report_failure(
    source: Source,
    description: Annotated[str, typer.Argument(metavar="TEXT", help="What failed; no personal data.")],
    kind: Kind = "",
    channel: Channel = "",
    order: Order = "",
    sku: Sku = "",
    location: Location = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Reports that a feed or a channel adapter could not do its work.

    \b
    Examples:
      truestock report-failure tiktok-adapter "label refused" \\
        --kind fulfillment --order tiktok_shop/577
    """
    request = ReportSyncFailureRequest(
        source=source,
        description=description,
        kind=_kind(kind),
        channel_id=channel,
        order=_order(order),
        sku=sku,
        location_id=location,
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> ReportSyncFailureResponse:
        return await client.ask(client.exceptions.ReportSyncFailure, request)

    exception = call(server, ask).exception
    if as_json:
        print_json(exception)
    else:
        print_exception(stdout_console(), exception, ())


def report_recovery(
    source: Source,
    kind: Kind = "",
    channel: Channel = "",
    order: Order = "",
    sku: Sku = "",
    location: Location = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Reports that what failed works again: resolves the exception about it.

    \b
    Examples:
      truestock report-recovery tiktok-adapter --order tiktok_shop/577
    """
    request = ReportSyncRecoveryRequest(
        source=source,
        kind=_kind(kind),
        channel_id=channel,
        order=_order(order),
        sku=sku,
        location_id=location,
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> ReportSyncRecoveryResponse:
        return await client.ask(client.exceptions.ReportSyncRecovery, request)

    resolved = call(server, ask).exceptions
    if as_json:
        print_json(list(resolved))
        return
    say(f"{count(len(resolved), 'exception')} resolved.")


def _kind(text: str) -> SyncFailureKind.ValueType:
    return options.word("--kind", text, _KINDS) if text else SyncFailureKind.SYNC_FAILURE_KIND_UNSPECIFIED


def _order(text: str) -> OrderReference | None:
    return options.order_reference(text) if text else None
