"""What channels of both kinds, sync and asyncio, have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CALL_SECONDS = 30.0
"""The deadline of a call that states none, with all its retries."""

Options = Sequence[tuple[str, Any]]

_OPTIONS: Options = (
    # The largest response: 500 SKUs at 1,000 locations with their reasons.
    ("grpc.max_receive_message_length", 64 << 20),
    # gRPC would send even 127.0.0.1 through the proxy that http_proxy names; Truestock runs in the local network.
    ("grpc.enable_http_proxy", 0),
    # gRPC waits up to two minutes before it connects again to a service that was away.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Notices within 15 s that a connection is dead, such as after a firewall has forgotten it, so that a call is
    # repeated over a new one before its deadline. Heartbeats of watches make most pings unnecessary.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
)


def with_defaults(options: Options) -> Options:
    """The options of a channel: those of the caller instead of ours where both state one."""
    return [*(option for option in _OPTIONS if option[0] not in dict(options)), *options]
