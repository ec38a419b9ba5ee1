"""Tokens of truestock-client: sent with every kind of call, and never where others can read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from grpc import ssl_channel_credentials

from service.auth.tokens import digest_of
from tests.conftest import PLAIN_RULES, new_database, service_settings, service_thread
from truestock.v1.availability_service_pb2 import WatchAvailabilityRequest
from truestock.v1.catalog_service_pb2 import ListChannelsRequest, Product, UpsertProductsRequest
from truestock_client import AsyncClient, CallError, Client

AUTHORITY = trustme.CA()
CREDENTIALS = ssl_channel_credentials(AUTHORITY.cert_pem.bytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An access file with a reader, whose token is `tst_reader`, and the certificate of a service."""
    folder = tmp_path_factory.mktemp("access")
    token = digest_of("tst_reader").hex()
    (folder / "access.yaml").write_text(
        f"principals: [{{name: reader, roles: [read], tokens: [{{sha256: {token}}}]}}]\n"
    )
    own = AUTHORITY.issue_cert("127.0.0.1")
    (folder / "server.pem").write_bytes(own.cert_chain_pems[0].bytes())
    (folder / "server.key").write_bytes(own.private_key_pem.bytes())
    return folder


@pytest.fixture(scope="module", params=["with TLS", "without TLS"])
def service(request: pytest.FixtureRequest, postgres_url: str, folder: Path) -> Iterator[tuple[str, bool]]:
    """The address of a service that wants tokens, and whether it has TLS."""
    has_tls = request.param == "with TLS"
    files = {"tls_cert": folder / "server.pem", "tls_key": folder / "server.key"} if has_tls else {}
    for url in new_database(postgres_url, "template_truestock"):
        settings = service_settings(url, PLAIN_RULES).model_copy(update={"access": folder / "access.yaml", **files})
        with service_thread(settings) as address:
            yield address, has_tls


def test_a_client_calls_and_watches_with_its_token(service: tuple[str, bool]) -> None:
    address, has_tls = service
    credentials = CREDENTIALS if has_tls else None
    watch = WatchAvailabilityRequest(channel_id="web")
    with Client(address, credentials=credentials, token="tst_reader") as client:
        assert not client.catalog.ListChannels(ListChannelsRequest()).channels
        with pytest.raises(CallError) as missing:
            next(client.watch_availability(watch))
        assert missing.value.reason == "NOT_FOUND"
        with pytest.raises(CallError) as refused:
            client.catalog.UpsertProducts(UpsertProductsRequest(products=[Product(sku="MUG")]))
        assert refused.value.reason == "PERMISSION_DENIED"
    with Client(address, credentials=credentials) as client, pytest.raises(CallError) as unknown:
        client.catalog.ListChannels(ListChannelsRequest())
    assert unknown.value.reason == "UNAUTHENTICATED"


async def test_an_async_client_calls_and_watches_with_its_token(service: tuple[str, bool]) -> None:
    address, has_tls = service
    watch = WatchAvailabilityRequest(channel_id="web")
    async with AsyncClient(address, credentials=CREDENTIALS if has_tls else None, token="tst_reader") as client:
        assert not (await client.catalog.ListChannels(ListChannelsRequest())).channels
        with pytest.raises(CallError) as missing:
            await anext(client.watch_availability(watch))
        assert missing.value.reason == "NOT_FOUND"


@pytest.mark.parametrize("host", ["shop.example", "127.shop.example", "10.0.0.5", "[fd00::1]"])
def test_a_token_is_not_sent_to_another_machine_without_tls(host: str) -> None:
    with pytest.raises(ValueError, match="only with TLS"):
        Client(f"{host}:50051", token="tst_reader")
