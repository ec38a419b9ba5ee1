"""Public keys of an identity provider are fetched from one host, which may be replaced, slow, hostile or away."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme

from service.auth import authentication as authentication_module, issuer_keys
from service.auth.access_file import AccessFileError
from service.auth.authentication import Authentication
from service.auth.issuer import Issuer, KeysError
from service.auth.issuer_keys import REFRESH_SECONDS, RETRY_SECONDS, KeySchedule, fetched_keys
from service.auth.principals import Role
from service.errors import Unauthenticated
from tests.service.auth.test_json_web_tokens import KEY, OTHER_KEY, public, signed


class KeyHost:
    """An HTTP server that answers with whatever a test says; it counts the requests."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.status, self.body, self.headers = 200, b"", dict[str, str]()
        self.request_count = 0
        self.drips = ""
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://localhost:{self._server.server_address[1]}/keys"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def publish(self, *keys: dict[str, Any]) -> None:
        self.status, self.body = 200, json.dumps({"keys": keys}).encode()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(host) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with suppress(ConnectionError):
                    self.answer()

            def answer(self) -> None:
                host.request_count += 1
                self.send_response(host.status)
                for name, value in host.headers.items():
                    self.send_header(name, value)
                self.flush_headers()
                while host.drips == "headers" and not host.released.wait(0.02):
                    self.wfile.write(b"X")
                self.end_headers()
                self.wfile.write(host.body)
                while host.drips == "body" and not host.released.wait(0.02):
                    self.wfile.write(b" ")

            def finish(self) -> None:
                # A caller that gives up hangs up.
                with suppress(OSError):
                    super().finish()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has in the library
                """Prints nothing."""

        return Handler


@pytest.fixture
def host() -> Iterator[KeyHost]:
    host = KeyHost()
    yield host
    host.close()


class Clock:
    """The time of `authentication`, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(authentication_module, "monotonic", clock)
    return clock


def access(tmp_path: Path, keys: str) -> Authentication:
    (tmp_path / "access.yaml").write_text(
        "principals: [{name: adapter, roles: [read], subjects: [shop]}]\n"
        f"jwt: {{issuer: https://id.example, audience: truestock, keys: '{keys}'}}\n"
    )
    return Authentication(tmp_path / "access.yaml")


def accepts(authentication: Authentication, token: str) -> bool:
    try:
        return authentication.by_metadata([("authorization", f"Bearer {token}")]) is not None
    except Unauthenticated:
        return False


async def test_a_new_key_is_fetched_when_a_token_names_it_and_an_old_one_is_dropped(
    host: KeyHost, tmp_path: Path, clock: Clock
) -> None:
    host.publish(public(KEY, "1"))
    authentication = access(tmp_path, host.url)
    assert not accepts(authentication, signed())
    await authentication.refresh_keys()
    assert accepts(authentication, signed())

    host.publish(public(OTHER_KEY, "2"))
    renewed = signed(OTHER_KEY, kid="2")
    clock.now += RETRY_SECONDS
    await authentication.refresh_keys()
    assert host.request_count == 1
    assert not accepts(authentication, renewed)
    await authentication.refresh_keys()

    assert accepts(authentication, renewed)
    assert not accepts(authentication, signed())


async def test_tokens_with_unknown_keys_make_no_more_than_one_request_in_half_a_minute(
    host: KeyHost, tmp_path: Path, clock: Clock
) -> None:
    host.publish(public(KEY, "1"))
    authentication = access(tmp_path, host.url)
    for second in range(90):
        clock.now = 1_000 + second
        await authentication.refresh_keys()
        for number in range(3):
            assert not accepts(authentication, signed(OTHER_KEY, kid=f"unknown {second} {number}"))

    assert host.request_count == 90 / RETRY_SECONDS


async def test_keys_are_fetched_again_every_five_minutes(host: KeyHost, tmp_path: Path, clock: Clock) -> None:
    host.publish(public(KEY))
    authentication = access(tmp_path, host.url)
    for _ in range(3):
        await authentication.refresh_keys()
        await authentication.refresh_keys()
        clock.now += REFRESH_SECONDS

    assert host.request_count == 3


@pytest.mark.parametrize("answer", ["away", "error", "empty", "nonsense", "redirect"])
async def test_the_last_keys_stay_in_force_whatever_the_host_does(
    answer: str, host: KeyHost, tmp_path: Path, clock: Clock
) -> None:
    host.publish(public(KEY))
    authentication = access(tmp_path, host.url)
    await authentication.refresh_keys()
    elsewhere = KeyHost()
    elsewhere.publish(public(OTHER_KEY))
    if answer == "away":
        host.close()
    elif answer == "error":
        host.status = 503
    elif answer == "redirect":
        host.status, host.headers, host.body = 302, {"Location": elsewhere.url}, b""
    else:
        host.body = b'{"keys": []}' if answer == "empty" else b"<html>"

    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            clock.now += REFRESH_SECONDS
            await authentication.refresh_keys()

    assert accepts(authentication, signed())
    assert [line["log_level"] for line in lines] == ["error"]
    assert host.url in lines[0]["problem"]
    assert elsewhere.request_count == 0
    elsewhere.close()


async def test_keys_fetched_before_a_change_of_the_access_file_stay(host: KeyHost, tmp_path: Path) -> None:
    host.publish(public(KEY))
    authentication = access(tmp_path, host.url)
    await authentication.refresh_keys()
    path = tmp_path / "access.yaml"
    path.write_text(path.read_text().replace("[read]", "[read, stock]"))
    await authentication.reload()

    assert accepts(authentication, signed())


async def test_keys_fetched_while_a_change_of_the_access_file_is_read_stay(host: KeyHost, tmp_path: Path) -> None:
    host.publish(public(KEY))
    authentication = access(tmp_path, host.url)
    path = tmp_path / "access.yaml"
    path.write_text(path.read_text().replace("[read]", "[read, stock]"))

    reading = asyncio.create_task(authentication.reload())
    await authentication.refresh_keys()
    await reading
    # Whichever ended first, the service reads again within a second what it had to leave.
    await authentication.reload()

    assert accepts(authentication, signed())
    assert authentication.access is not None
    assert authentication.access.principals[0].roles == {Role.READ, Role.STOCK}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"x" * 2_000_000, "more than 1,048,576 bytes"),
        (b"", "no JSON Web Key Set"),
        (b"[" * 500_000, "no JSON Web Key Set"),
        (json.dumps({"keys": [public(KEY)] * 200}).encode(), "has 200 keys"),
        (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "1"}]}', "symmetric keys"),
        (b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "1"}]}', "no JSON Web Key Set"),
    ],
)
async def test_an_answer_that_is_no_set_of_public_keys_changes_nothing(
    body: bytes, problem: str, host: KeyHost, tmp_path: Path, clock: Clock
) -> None:
    host.publish(public(KEY))
    authentication = access(tmp_path, host.url)
    await authentication.refresh_keys()
    host.body = body
    clock.now += REFRESH_SECONDS

    with structlog.testing.capture_logs() as lines:
        await authentication.refresh_keys()

    assert problem in lines[0]["problem"]
    assert len(lines[0]["problem"]) <= 300
    assert accepts(authentication, signed())


@pytest.mark.parametrize("part", ["body", "headers"])
def test_a_host_that_answers_byte_by_byte_is_given_up(
    part: str, host: KeyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "FETCH_SECONDS", 0.2)
    host.drips = part

    with pytest.raises(KeysError, match="did not answer"):
        fetched_keys(host.url)


def test_a_host_with_another_certificate_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    host = KeyHost(context)
    host.publish(public(KEY))
    for name, known in (("own", authority), ("other", other)):
        known.cert_pem.write_to_path(str(tmp_path / name))

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own"))
    assert json.loads(fetched_keys(host.url))["keys"]
    with pytest.raises(KeysError, match="certificate verify failed"):
        fetched_keys(host.url.replace("localhost", "127.0.0.1"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other"))
    with pytest.raises(KeysError, match="certificate verify failed"):
        fetched_keys(host.url)
    host.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example/keys",
        "http://10.0.0.1/keys",
        "http://127.0.0.1.evil.example/keys",
        "https://user:secret@id.example/keys",
        "https:///keys",
        "https://id.example:0/keys",
        "https://id.example:70000/keys",
        "https://id.example/keys#part",
        "https://id.example/a b",
        "file:///etc/passwd",
        "ftp://id.example/keys",
    ],
)
def test_an_address_that_is_not_safe_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(AccessFileError) as refused:
        access(tmp_path, url)

    assert "'keys' cannot be fetched from" in refused.value.problems[0].message


def test_an_address_that_changes_is_asked_at_once() -> None:
    schedule = KeySchedule()
    first, second = (Issuer("i", "a", f"https://{name}.example/keys") for name in ("one", "two"))
    assert schedule.is_due(first, 0, lacks_key=False)
    schedule.attempted(0, succeeded=True)

    assert not schedule.is_due(first, 1, lacks_key=True)
    assert schedule.is_due(second, 1, lacks_key=False)
