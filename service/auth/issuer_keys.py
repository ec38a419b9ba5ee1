"""Fetches the public keys of an identity provider from its one address, without trusting the host with more than keys.

Only HTTPS, or HTTP on this machine; redirects are not followed, answers and the time for them are bounded. No call
waits for it: keys are fetched in the background, and those that were fetched last stay in force while the host is away.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from contextlib import suppress
from urllib.parse import urlsplit

from service.auth.file_content import LARGEST_FILE
from service.auth.issuer import Issuer, KeysError

FETCH_SECONDS = 5.0
"""How long the host may take to answer, all in all."""
REFRESH_SECONDS = 300.0
"""How often keys are fetched while nothing asks for others."""
RETRY_SECONDS = 30.0
"""How often they are fetched at most: after a failure, or for a token with a key that is not known."""
_PORTION = 64 << 10


def fetched_keys(url: str) -> bytes:
    """What the host answers, at most 1 MiB. Blocks for about FETCH_SECONDS at most. Raises KeysError."""
    try:
        return _fetch(url, time.monotonic() + FETCH_SECONDS)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise KeysError(f"{url} did not answer: {str(error) or type(error).__name__}") from error


def _fetch(url: str, end: float) -> bytes:
    parts = urlsplit(url)
    assert parts.hostname is not None
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=FETCH_SECONDS, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=FETCH_SECONDS)
    connection.connect()
    # A timeout bounds the wait for each part of an answer, and a host may send its headers in any number of parts.
    last_resort = threading.Timer(max(0.0, end - time.monotonic()), _cut_off, (connection.sock,))
    last_resort.start()
    try:
        path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        connection.request("GET", path, headers={"Accept": "application/json", "Connection": "close"})
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise KeysError(f"{url} answered {response.status}, and only 200 is accepted; name the address of the keys")
        return _content(response, url, end)
    finally:
        last_resort.cancel()
        connection.close()


def _content(response: http.client.HTTPResponse, url: str, end: float) -> bytes:
    content = b""
    while portion := response.read1(_PORTION):
        content += portion
        if len(content) > LARGEST_FILE:
            raise KeysError(f"{url} answered more than {LARGEST_FILE:,} bytes")
    if time.monotonic() > end:
        raise TimeoutError("no whole answer in time")
    return content


def _cut_off(connected: socket.socket) -> None:
    """Ends what another thread reads, also below TLS, whose own methods are not made for two threads."""
    with suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


class KeySchedule:
    """When the keys of an issuer's host are fetched next. `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self._url: str | None = None
        self._next_refresh = self._next_attempt = 0.0

    def is_due(self, issuer: Issuer, now: float, *, lacks_key: bool) -> bool:
        """Whether to fetch now; at once for an address that is new."""
        if issuer.keys != self._url:
            self._url, self._next_refresh, self._next_attempt = issuer.keys, now, now
        return now >= self._next_attempt and (lacks_key or now >= self._next_refresh)

    def attempted(self, now: float, *, succeeded: bool) -> None:
        """Notes an attempt. One that failed is repeated as soon as it may be."""
        self._next_attempt = now + RETRY_SECONDS
        if succeeded:
            self._next_refresh = now + REFRESH_SECONDS
