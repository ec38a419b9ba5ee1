"""A service with TLS: who can connect, certificates that are renewed while it runs, and what is refused without TLS."""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import structlog
import trustme

from service.app.application import Running, running
from service.app.listening import StartError, listening
from service.settings import Settings
from tests.conftest import PLAIN_RULES, service_settings
from truestock.v1.catalog_service_pb2 import ListChannelsRequest
from truestock.v1.catalog_service_pb2_grpc import CatalogServiceStub

AUTHORITY = trustme.CA()


def write_certificate(folder: Path, authority: trustme.CA = AUTHORITY) -> None:
    """Writes server.pem and server.key for this machine."""
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    (folder / "server.key").write_bytes(certificate.private_key_pem.bytes())
    (folder / "server.pem").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the certificate of a service, its key and the authority."""
    write_certificate(tmp_path)
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.cert_pem.bytes())
    return tmp_path


@asynccontextmanager
async def served(database_url: str, folder: Path, *, client_ca: bool = False) -> AsyncIterator[Running]:
    """A service with the certificate of the folder."""
    settings = service_settings(database_url, PLAIN_RULES).model_copy(
        update={
            "tls_cert": folder / "server.pem",
            "tls_key": folder / "server.key",
            "client_ca": folder / "ca.pem" if client_ca else None,
        }
    )
    async with running(settings) as service:
        yield service


async def call(
    service: Running, authority: trustme.CA = AUTHORITY, certificate: trustme.LeafCert | None = None
) -> int | str:
    """How many channels the service has, asked over a new connection; the name of the status if that fails."""
    credentials = grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(),
        certificate.private_key_pem.bytes() if certificate else None,
        certificate.cert_chain_pems[0].bytes() if certificate else None,
    )
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(service.address, credentials, options) as channel:
        return await ask(channel)


async def ask(channel: grpc.aio.Channel) -> int | str:
    try:
        return len((await CatalogServiceStub(channel).ListChannels(ListChannelsRequest(), timeout=20)).channels)
    except grpc.aio.AioRpcError as error:
        return error.code().name


def read_metrics(service: Running, context: ssl.SSLContext | None) -> str:
    """What /readyz answers, or the kind of failure."""
    scheme = "http" if context is None else "https"
    try:
        with urllib.request.urlopen(
            f"{scheme}://{service.metrics_address}/readyz", context=context, timeout=20
        ) as page:
            return str(page.read(), "ascii")
    except OSError as error:
        return type(error).__name__


def trusting(authority: trustme.CA, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return context


async def test_only_callers_with_tls_who_trust_the_authority_connect(database_url: str, folder: Path) -> None:
    async with served(database_url, folder) as service:
        assert await call(service) == 0
        assert await call(service, trustme.CA()) == "UNAVAILABLE"
        async with grpc.aio.insecure_channel(service.address) as channel:
            assert await ask(channel) == "UNAVAILABLE"

        assert await asyncio.to_thread(read_metrics, service, trusting(AUTHORITY)) == "ready\n"
        assert await asyncio.to_thread(read_metrics, service, None) != "ready\n"


async def test_with_client_authorities_each_caller_shows_a_certificate_of_theirs(
    database_url: str, folder: Path
) -> None:
    own, foreign = AUTHORITY.issue_cert("adapter.shop"), trustme.CA().issue_cert("adapter.shop")
    async with served(database_url, folder, client_ca=True) as service:
        assert await call(service, certificate=own) == 0
        assert await call(service, certificate=foreign) == "UNAVAILABLE"
        assert await call(service) == "UNAVAILABLE"

        assert await asyncio.to_thread(read_metrics, service, trusting(AUTHORITY, own)) == "ready\n"
        assert await asyncio.to_thread(read_metrics, service, trusting(AUTHORITY)) != "ready\n"


async def test_a_renewed_certificate_is_used_from_the_next_connection_on_and_no_call_fails(
    database_url: str, folder: Path
) -> None:
    renewed = trustme.CA()
    async with served(database_url, folder) as service:
        credentials = grpc.ssl_channel_credentials(AUTHORITY.cert_pem.bytes())
        async with grpc.aio.secure_channel(service.address, credentials) as open_channel:
            assert await ask(open_channel) == 0
            calls = [asyncio.ensure_future(ask(open_channel)) for _ in range(50)]
            write_certificate(folder, renewed)
            calls += [asyncio.ensure_future(ask(open_channel)) for _ in range(50)]

            assert set(await asyncio.gather(*calls)) == {0}
            assert await call(service, renewed) == 0
            assert await call(service, AUTHORITY) == "UNAVAILABLE"
            assert await asyncio.to_thread(read_metrics, service, trusting(renewed)) == "ready\n"
            assert await ask(open_channel) == 0


async def test_files_that_cannot_be_used_leave_the_last_certificate_in_use(database_url: str, folder: Path) -> None:
    async with served(database_url, folder) as service:
        (folder / "server.key").write_bytes(trustme.CA().issue_cert("localhost").private_key_pem.bytes())

        with structlog.testing.capture_logs() as logs:
            assert await call(service) == 0
            assert await call(service) == 0

    refused = [line for line in logs if line["event"] == "changed certificate files are not used"]
    assert len(refused) == 1
    assert "does not belong to" in refused[0]["problem"]


async def test_a_certificate_behind_a_swapped_link_is_noticed(database_url: str, folder: Path) -> None:
    """As Kubernetes renews a mounted secret: a link to the folder is replaced, and no file changes."""
    renewed = trustme.CA()
    for name, authority in (("first", AUTHORITY), ("second", renewed)):
        (folder / name).mkdir()
        write_certificate(folder / name, authority)
        (folder / name / "ca.pem").write_bytes(authority.cert_pem.bytes())
    (folder / "current").symlink_to("first")
    async with served(database_url, folder / "current") as service:
        assert await call(service) == 0
        (folder / "next").symlink_to("second")
        (folder / "next").replace(folder / "current")

        assert await call(service, renewed) == 0


@pytest.mark.parametrize("flag", ["address", "metrics_address"])
def test_addresses_that_others_reach_need_tls_or_insecure(flag: str, folder: Path) -> None:
    (folder / "access.yaml").write_text("principals: [{name: ops, roles: [admin]}]")
    settings = Settings(address="127.0.0.1:0", metrics_address="127.0.0.1:0", access=folder / "access.yaml").model_copy(
        update={flag: "0.0.0.0:0"}
    )
    with pytest.raises(StartError, match=r"--tls-cert and --tls-key.*--insecure"):
        listening(settings)

    with structlog.testing.capture_logs() as logs:
        listening(settings.model_copy(update={"insecure": True}))
    assert [line["event"] for line in logs] == ["open to other machines (--insecure)"]
    with_tls = {"tls_cert": folder / "server.pem", "tls_key": folder / "server.key"}
    assert listening(settings.model_copy(update=with_tls)).certificates is not None


def test_an_address_that_others_reach_needs_an_access_file_too(folder: Path) -> None:
    with_tls = {"tls_cert": folder / "server.pem", "tls_key": folder / "server.key"}
    settings = Settings(address="0.0.0.0:0", access=folder / "access.yaml").model_copy(update=with_tls)

    with pytest.raises(StartError, match=r"lacks an access file .`truestock access add` makes"):
        listening(settings)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.8.8.8:0", "localhost:0", "[::1]:0"])
def test_addresses_of_this_machine_alone_need_no_tls(address: str) -> None:
    assert listening(Settings(address=address, metrics_address=address)).certificates is None


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"tls_cert": "server.pem"}, "--tls-cert and --tls-key go together"),
        ({"client_ca": "ca.pem"}, "--client-ca needs both"),
        ({"tls_cert": "missing.pem", "tls_key": "server.key"}, "missing.pem cannot be read: No such file"),
        ({"tls_cert": "server.key", "tls_key": "server.key"}, "server.key holds no certificate in PEM format"),
        ({"tls_cert": "server.pem", "tls_key": "server.pem"}, "server.pem holds no private key in PEM format"),
        ({"tls_cert": "ca.pem", "tls_key": "server.key"}, "does not belong to the certificate"),
        (
            {"tls_cert": "server.pem", "tls_key": "server.key", "client_ca": "empty.pem"},
            "empty.pem holds no certificate",
        ),
    ],
)
def test_files_that_cannot_be_used_are_named_at_the_start(files: dict[str, str], problem: str, folder: Path) -> None:
    (folder / "empty.pem").touch()
    settings = Settings(address="127.0.0.1:0").model_copy(
        update={setting: folder / name for setting, name in files.items()}
    )
    with pytest.raises(StartError, match=problem):
        listening(settings)
