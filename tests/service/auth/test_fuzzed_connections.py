"""Strangers that send broken handshakes and calls neither end a service nor fill its memory, descriptors or log.

Paths that are not UTF-8 are left out: a server is started again after one (`test_restarted_servers`), but after
some of them grpcio itself may end the process with a memory fault, as SECURITY.md says.
"""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.auth.tokens import digest_of
from tests.conftest import PLAIN_RULES, REPOSITORY
from tests.http2_frames import ACK, HEADERS, PING, RST_STREAM, Fuzzer, frame, opening
from truestock.v1.catalog_service_pb2 import ListChannelsRequest
from truestock.v1.catalog_service_pb2_grpc import CatalogServiceStub

HANDSHAKES, REQUESTS = 40_000, 60_000
REQUESTS_A_CONNECTION = 20
CALLERS = 8
WAIT_SECONDS = 20.0
SILENT_SECONDS = 1.0
"""When a service that says nothing is taken to wait for the rest of a frame."""
TOKEN = "tst_" + "q" * 43
PATH = "/truestock.v1.CatalogService/ListChannels"
MOST_MEMORY_GROWTH = 64 * 1024 * 1024
LOG_LINES_A_SECOND = 30


@dataclass(frozen=True)
class Served:
    """A service in a process of its own, with TLS and tokens."""

    process: psutil.Process
    address: str
    authority: trustme.CA
    log: Path

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def log_lines(self) -> int:
        return len(self.log.read_bytes().splitlines())

    def channel(self) -> grpc.Channel:
        """A connection of its own of a caller with a valid token."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        credentials = grpc.composite_channel_credentials(
            grpc.ssl_channel_credentials(self.authority.cert_pem.bytes()), grpc.access_token_call_credentials(TOKEN)
        )
        return grpc.secure_channel(self.address, credentials, options)


@pytest.fixture
def served(database_url: str, tmp_path: Path) -> Iterator[Served]:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    (tmp_path / "server.pem").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    (tmp_path / "server.key").write_bytes(certificate.private_key_pem.bytes())
    entry = f"{{name: shop, roles: [read], tokens: [{{sha256: {digest_of(TOKEN).hex()}}}]}}"
    (tmp_path / "access.yaml").write_text(f"principals:\n  - {entry}\n")
    command = [sys.executable, "-m", "service", "serve", "--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"]
    command += ["--database-url", database_url, "--rules", str(PLAIN_RULES), "--access", str(tmp_path / "access.yaml")]
    command += ["--tls-cert", str(tmp_path / "server.pem"), "--tls-key", str(tmp_path / "server.key")]
    log = tmp_path / "log"
    with (
        log.open("wb") as errors,
        ended(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=REPOSITORY)) as process,
    ):
        assert process.stdout is not None
        address = next(match[1] for line in process.stdout if (match := re.search(r"gRPC\s+(\S+)", line)))
        yield Served(psutil.Process(process.pid), address, authority, log)


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.long
def test_a_hundred_thousand_broken_handshakes_and_calls_leave_a_service_as_it_was(served: Served) -> None:
    started = time.monotonic()
    check_that_it_serves(served)
    attack(served, seed=0, handshakes=HANDSHAKES // 10, requests=REQUESTS // 10)
    check_that_it_serves(served)
    memory, descriptors = served.process.memory_info().rss, served.process.num_fds()

    outcomes = attack(served, seed=1, handshakes=HANDSHAKES * 9 // 10, requests=REQUESTS * 9 // 10)

    seconds = time.monotonic() - started
    cpu = sum(served.process.cpu_times()[:2]), time.process_time()
    print(f"{seconds:.0f} s, CPU {cpu[0]:.0f} + {cpu[1]:.0f} s", dict(outcomes))  # noqa: T201
    check_that_it_serves(served)
    # The attack was one: the service read the requests, and did not only close connections.
    assert outcomes["answered"] > REQUESTS / 3
    assert served.process.num_fds() <= descriptors + CALLERS
    assert served.process.memory_info().rss - memory < MOST_MEMORY_GROWTH
    assert served.log_lines() < 100 + LOG_LINES_A_SECOND * seconds
    assert b"unexpected error" not in served.log.read_bytes()


def check_that_it_serves(served: Served) -> None:
    """Checks that a service says that it serves, and does."""
    with served.channel() as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
        CatalogServiceStub(channel).ListChannels(ListChannelsRequest(), timeout=30)
    assert health.status == health_pb2.HealthCheckResponse.SERVING


def attack(served: Served, *, seed: int, handshakes: int, requests: int) -> Counter[str]:
    """Handshakes and requests of several callers at once; how they ended."""
    outcomes: Counter[str] = Counter()
    hello = client_hello()
    with ThreadPoolExecutor(CALLERS) as callers:
        works = [
            callers.submit(work, served, Fuzzer(CALLERS * seed + caller, PATH, TOKEN), hello, handshakes, requests)
            for caller in range(CALLERS)
        ]
        for work_of_caller in works:
            outcomes += work_of_caller.result()
    return outcomes


def work(served: Served, fuzzer: Fuzzer, hello: bytes, handshakes: int, requests: int) -> Counter[str]:
    """The share of one caller."""
    outcomes: Counter[str] = Counter()
    for _ in range(handshakes // CALLERS):
        outcomes[shake_hands(served.port, fuzzer.handshake(hello))] += 1
    context = ssl.create_default_context(cadata=served.authority.cert_pem.bytes().decode())
    context.set_alpn_protocols(["h2"])
    for _ in range(requests // CALLERS // REQUESTS_A_CONNECTION):
        sent = opening() + b"".join(fuzzer.request(2 * number + 1) for number in range(REQUESTS_A_CONNECTION))
        ending, answered = send(context, served.port, sent + frame(PING, 0, 0, bytes(8)))
        outcomes[ending] += 1
        outcomes["answered"] += answered
    return outcomes


def client_hello() -> bytes:
    """What a TLS client sends first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def connected(port: int) -> socket.socket:
    """A connection, also to a service whose gRPC server has just been ended by a request and begins again."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)
        except ConnectionError:
            if time.monotonic() > deadline:
                raise


def shake_hands(port: int, content: bytes) -> str:
    """How the service ends a connection that sends these bytes and no more."""
    with connected(port) as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass
        except TimeoutError:
            return "silent"
        except OSError:
            return "reset"
    return "closed"


def send(context: ssl.SSLContext, port: int, content: bytes) -> tuple[str, int]:
    """How a TLS connection that sends these frames ends, and how many header frames the service answers with."""
    received, plain = bytearray(), connected(port)
    try:
        with plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            connection.settimeout(SILENT_SECONDS)
            connection.sendall(content)
            while not (is_acknowledged(received) and ends_in(received) >= REQUESTS_A_CONNECTION):
                part = connection.recv(65_536)
                if not part:
                    return "closed", headers_in(received)
                received += part
    except TimeoutError:
        return "silent", headers_in(received)
    except OSError:
        return "reset", headers_in(received)
    return "done", headers_in(received)


def frames_in(received: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """The kind and the flags of each whole frame."""
    start = 0
    while start + 9 <= len(received):
        yield received[start + 3], received[start + 4]
        start += 9 + int.from_bytes(received[start : start + 3], "big")


def headers_in(received: bytes | bytearray) -> int:
    return sum(kind == HEADERS for kind, _ in frames_in(received))


def ends_in(received: bytes | bytearray) -> int:
    """How many requests were answered or reset."""
    return sum(kind in (HEADERS, RST_STREAM) for kind, _ in frames_in(received))


def is_acknowledged(received: bytes | bytearray) -> bool:
    return (PING, ACK) in set(frames_in(received))
