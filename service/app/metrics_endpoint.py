"""The metrics port: /metrics for Prometheus, /healthz for liveness, /readyz for readiness."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from service.auth.authentication import ALTERNATIVE_NAME, COMMON_NAME, HEADER, Authentication
from service.auth.principals import Role
from service.background import FailureLog
from service.errors import Unauthenticated
from service.observability.scrape_log import ScrapeLog
from service.settings import Address

if TYPE_CHECKING:
    from service.auth.certificates import CertificateFiles

_REFUSED = {
    401: b"metrics need the token of a principal: Authorization: Bearer TOKEN\n",
    403: b"metrics need the role read, for all channels and locations\n",
}
POLL_SECONDS = 0.05
"""How soon the thread notices that it must stop, if nothing else wakes it."""


class MetricsServer:
    """Serves from a thread of its own, so that it answers while the event loop is busy. Raises OSError."""

    def __init__(
        self,
        address: Address,
        registry: CollectorRegistry,
        certificates: CertificateFiles | None = None,
        scrapes: ScrapeLog | None = None,
        authentication: Authentication | None = None,
    ) -> None:
        """With `certificates` the port speaks HTTPS only. With `authentication`, metrics are for the role `read`."""
        self.ready = False
        handler = _handler(registry, lambda: self.ready, scrapes or ScrapeLog(), authentication)
        self._server = _Server((address.host, address.port), handler, certificates)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="metrics", daemon=True
        )
        self._thread.start()

    async def not_ready(self, _: float = 0) -> None:
        """Makes /readyz report that this service accepts no more calls."""
        self.ready = False

    def close(self, seconds: float = 5) -> None:
        """Frees the port, and waits up to `seconds` for its thread."""
        stop = threading.Thread(target=self._server.shutdown, name="metrics stop", daemon=True)
        stop.start()
        end = time.monotonic() + seconds
        while stop.is_alive() and time.monotonic() < end:
            # The thread waits for a connection: one of our own makes it see at once that it must stop.
            with suppress(OSError):
                socket.create_connection(self._server.server_address[:2], timeout=POLL_SECONDS).close()  # type: ignore[arg-type]
            stop.join(timeout=0.002)
        self._server.server_close()
        self._thread.join(timeout=max(0.0, end - time.monotonic()))


class _Server(ThreadingHTTPServer):
    """Logs errors of requests as everything else that repeats; the library prints a traceback for each."""

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[BaseHTTPRequestHandler],
        certificates: CertificateFiles | None,
    ) -> None:
        self._failures = FailureLog()
        self._certificates = certificates
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """A new connection; the thread that serves it makes the handshake, so that a slow caller holds up no other."""
        connection, address = super().get_request()
        if self._certificates is not None:
            context = self._certificates.current().context
            connection = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: object, client_address: object) -> None:
        """Logs the error being handled, unless the caller has hung up or speaks no TLS.

        A probe often only looks for an open port.
        """
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError | ssl.SSLError):
            self._failures.failed("a request to the metrics port failed", error)


def _refusal(handler: BaseHTTPRequestHandler, authentication: Authentication | None) -> int | None:
    """The status with which a caller is refused: 401 if nobody knows who it is, 403 if it may not read everything."""
    if authentication is None:
        return None
    try:
        headers = handler.headers.get_all(HEADER, ())
        principal = authentication.by_metadata([(HEADER, value) for value in headers])
        if principal is None:
            principal = authentication.by_certificate(_certificate_names(handler.connection))
    except Unauthenticated:
        return 401
    # Metrics are of all channels and locations.
    return None if principal.may(Role.READ) and not principal.is_bound else 403


def _certificate_names(connection: socket.socket) -> dict[str, list[bytes]]:
    """The names in the caller's verified certificate, as gRPC calls them; none without one."""
    certificate = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
    fields: Any = certificate or {}
    common = [value for part in fields.get("subject", ()) for key, value in part if key == "commonName"]
    alternative = [value for kind, value in fields.get("subjectAltName", ()) if kind == "DNS"]
    return {
        COMMON_NAME: [name.encode() for name in common],
        ALTERNATIVE_NAME: [name.encode() for name in alternative],
    }


def _handler(
    registry: CollectorRegistry,
    is_ready: Callable[[], bool],
    scrapes: ScrapeLog,
    authentication: Authentication | None,
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            path = self.path.split("?", 1)[0]
            if path == "/metrics" and (status := _refusal(self, authentication)) is not None:
                self._answer(status, _REFUSED[status])
            elif path == "/metrics":
                # OpenMetrics, which has exemplars, for a caller that accepts it; else the older text format.
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._answer(200, encode(registry), content_type)
                scrapes.note(self.headers.get("User-Agent", ""), self.client_address[0])
            elif path == "/healthz":
                self._answer(200, b"alive\n")
            elif path == "/readyz":
                ready = is_ready()
                self._answer(200 if ready else 503, b"ready\n" if ready else b"not ready\n")
            else:
                self._answer(404, b"try /metrics, /healthz or /readyz\n")

        def _answer(self, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            if status == 401:
                self.send_header("WWW-Authenticate", "Bearer")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has in the library
            """Logs nothing: a line for each scrape would fill the log."""

    return Handler
