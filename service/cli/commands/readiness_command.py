"""`truestock readiness`: whether a channel can be operated."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli import options
from service.cli.client import Client, call
from service.cli.console import EXIT_FAILED, print_json, stdout_console
from service.cli.prometheus_rules import loaded_alerts
from service.cli.views.readiness_view import print_checks, print_readiness
from truestock.v1 import readiness_service_pb2 as readiness_pb

CHECK_SECONDS = 90.0
"""A check may take a minute, and wait for others."""


def readiness(
    channel: options.ChannelId,
    prometheus: Annotated[
        str, typer.Option("--prometheus", metavar="URL", help="Ask this Prometheus whether the alerts are loaded.")
    ] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    history: Annotated[bool, typer.Option("--history", help="List the earlier checks instead.")] = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Checks whether a channel can be operated: each question with what was found, who owns it and what to do.

    The exit code is 0 if no question fails, and 1 otherwise.

    \b
    Examples:
      truestock readiness --channel tiktok_shop
      truestock readiness --channel shopify --strict --json
      truestock readiness --channel shopify --prometheus http://prometheus:9090
      truestock readiness --channel shopify --history
    """
    if history:
        _print_history(channel, server, as_json=as_json)
        return
    request = readiness_pb.CheckReadinessRequest(channel_id=channel)
    if prometheus:
        request.prometheus.CopyFrom(loaded_alerts(prometheus))

    async def check(client: Client) -> readiness_pb.CheckReadinessResponse:
        client.call_seconds = CHECK_SECONDS
        return await client.ask(client.readiness.CheckReadiness, request)

    answer = call(server, check)
    if as_json:
        print_json(answer)
    else:
        print_readiness(stdout_console(), answer)
    bad = [readiness_pb.READINESS_RESULT_FAIL, *([readiness_pb.READINESS_RESULT_WARN] if strict else [])]
    raise typer.Exit(EXIT_FAILED if answer.result in bad else 0)


def _print_history(channel: str, server: str, *, as_json: bool) -> None:
    request = readiness_pb.ListReadinessChecksRequest(channel_id=channel)

    async def checks(client: Client) -> readiness_pb.ListReadinessChecksResponse:
        return await client.ask(client.readiness.ListReadinessChecks, request)

    answer = call(server, checks)
    if as_json:
        print_json(answer)
    else:
        print_checks(stdout_console(), channel, list(answer.checks))
