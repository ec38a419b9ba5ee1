"""Sends a token with each call, so that the service knows who calls."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import grpc
from grpc import aio

HEADER = "authorization"


def with_token(credentials: grpc.ChannelCredentials, token: str | None) -> grpc.ChannelCredentials:
    """Credentials of TLS that also send the token."""
    if token is None:
        return credentials
    return grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))


def sync_senders(address: str, token: str | None) -> list[Any]:
    """Interceptors that send the token without TLS, for which gRPC has no credentials. Raises ValueError."""
    _check_stays_here(address, token)
    return [] if token is None else [_SyncSender(token)]


def async_senders(address: str, token: str | None) -> list[Any]:
    """The same for asyncio. Raises ValueError."""
    _check_stays_here(address, token)
    kinds = (_AsyncUnaryUnary, _AsyncUnaryStream, _AsyncStreamUnary, _AsyncStreamStream)
    return [] if token is None else [kind(token) for kind in kinds]


def _check_stays_here(address: str, token: str | None) -> None:
    if token is not None and not _is_this_machine(address):
        raise ValueError(
            f"a token is sent to {address} only with TLS, where nobody else can read it: pass credentials, such as "
            "grpc.ssl_channel_credentials()"
        )


def _is_this_machine(address: str) -> bool:
    """A name other than localhost may stand for any machine, also one that begins like an address."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return address.startswith("unix:") or host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class _Details(grpc.ClientCallDetails):
    """The details of a call with other metadata."""

    def __init__(self, details: Any, metadata: Any) -> None:
        self.method, self.timeout = details.method, details.timeout
        self.metadata = metadata
        self.credentials = details.credentials
        self.wait_for_ready = getattr(details, "wait_for_ready", None)
        self.compression = getattr(details, "compression", None)


class _SyncSender(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[type-arg]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamStreamClientInterceptor,  # type: ignore[type-arg]
):
    def __init__(self, token: str) -> None:
        self._header = (HEADER, f"Bearer {token}")

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return self._send(continuation, client_call_details, request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return self._send(continuation, client_call_details, request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return self._send(continuation, client_call_details, request_iterator)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return self._send(continuation, client_call_details, request_iterator)

    def _send(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(_Details(details, [*(details.metadata or ()), self._header]), request)


class _AsyncSender:
    def __init__(self, token: str) -> None:
        self._value = f"Bearer {token}"

    async def send(self, continuation: Any, details: Any, request: Any) -> Any:
        metadata = aio.Metadata(*(details.metadata or ()), (HEADER, self._value))
        return await continuation(details._replace(metadata=metadata), request)


# gRPC looks for exactly one of these base classes in each interceptor.
class _AsyncUnaryUnary(_AsyncSender, aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self.send(continuation, client_call_details, request)


class _AsyncUnaryStream(_AsyncSender, aio.UnaryStreamClientInterceptor):  # type: ignore[type-arg]
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self.send(continuation, client_call_details, request)


class _AsyncStreamUnary(_AsyncSender, aio.StreamUnaryClientInterceptor):  # type: ignore[type-arg]
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self.send(continuation, client_call_details, request_iterator)


class _AsyncStreamStream(_AsyncSender, aio.StreamStreamClientInterceptor):  # type: ignore[type-arg]
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self.send(continuation, client_call_details, request_iterator)
