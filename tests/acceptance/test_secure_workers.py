"""Workers with TLS, client certificates and an access file: what is renewed is in force on all of them."""

from __future__ import annotations

import asyncio
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest
import trustme

from service.app.application import Running
from service.app.workers.supervisor import running_workers
from tests.acceptance.test_tls import AUTHORITY, call, trusting, write_certificate
from tests.acceptance.test_workers import workers
from tests.conftest import PLAIN_RULES, service_settings
from tests.retailer import eventually
from tests.service.auth.test_access import bearer, principal
from tests.steady_shoppers import OWN_CONNECTION
from truestock.v1.catalog_service_pb2 import ListChannelsRequest
from truestock.v1.catalog_service_pb2_grpc import CatalogServiceStub

pytestmark = [pytest.mark.database, pytest.mark.long]

CONNECTIONS = 16
"""The kernel gives each to one of the workers: so many go to one alone once in 30,000 times."""
TILL = AUTHORITY.issue_cert("till.shop")


@asynccontextmanager
async def served(database_url: str, folder: Path, access: str) -> AsyncIterator[Running]:
    """Two workers who take only callers with a certificate of the authority and a token of the access file."""
    write_certificate(folder)
    (folder / "ca.pem").write_bytes(AUTHORITY.cert_pem.bytes())
    (folder / "access.yaml").write_text(access)
    files = {"tls_cert": "server.pem", "tls_key": "server.key", "client_ca": "ca.pem", "access": "access.yaml"}
    settings = service_settings(database_url, PLAIN_RULES).model_copy(
        update={"workers": 2, **{name: folder / file for name, file in files.items()}}
    )
    async with running_workers(settings) as service:
        yield service


@asynccontextmanager
async def connections(service: Running, authority: trustme.CA = AUTHORITY) -> AsyncIterator[list[grpc.aio.Channel]]:
    """Connections of a till, each of its own."""
    credentials = grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(), TILL.private_key_pem.bytes(), TILL.cert_chain_pems[0].bytes()
    )
    async with AsyncExitStack() as stack:
        channels = [grpc.aio.secure_channel(service.address, credentials, OWN_CONNECTION) for _ in range(CONNECTIONS)]
        yield [await stack.enter_async_context(channel) for channel in channels]


async def answers(channels: list[grpc.aio.Channel], token: str) -> set[str]:
    """What a call with this principal's token is answered over all connections."""

    async def ask(channel: grpc.aio.Channel) -> str:
        call = CatalogServiceStub(channel).ListChannels(ListChannelsRequest(), timeout=30, metadata=bearer(token))
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    return set(await asyncio.gather(*map(ask, channels)))


async def test_callers_are_told_apart_and_changes_of_who_may_call_reach_all_workers(
    database_url: str, tmp_path: Path
) -> None:
    head = "principals:\n"
    async with (
        served(database_url, tmp_path, head + principal("old", "read")) as service,
        connections(service) as channels,
    ):
        assert await answers(channels, "old") == {"OK"}
        assert await answers(channels, "new") == {"UNAUTHENTICATED"}
        assert all(worker.net_connections() for worker in workers())
        (tmp_path / "access.yaml").write_text(head + principal("new", "read"))

        async def has_changed() -> bool:
            return (await answers(channels, "new"), await answers(channels, "old")) == ({"OK"}, {"UNAUTHENTICATED"})

        await eventually(has_changed)
        (tmp_path / "access.yaml").write_text("principals: [nobody")
        await asyncio.sleep(2)

        # A file with problems changes nothing on any of them.
        assert await has_changed()


async def test_a_renewed_certificate_is_used_by_all_workers_and_open_connections_stay(
    database_url: str, tmp_path: Path
) -> None:
    renewed, access = trustme.CA(), "principals:\n" + principal("till", "read")
    async with served(database_url, tmp_path, access) as service, connections(service) as before:
        assert await answers(before, "till") == {"OK"}
        write_certificate(tmp_path, renewed)

        async with connections(service, renewed) as after:
            assert await answers(after, "till") == {"OK"}
        async with connections(service) as refused:
            assert await answers(refused, "till") == {"UNAVAILABLE"}
        assert await answers(before, "till") == {"OK"}


async def test_callers_without_a_certificate_of_the_authorities_reach_no_worker(
    database_url: str, tmp_path: Path
) -> None:
    access = "principals:\n" + principal("till", "read")
    async with served(database_url, tmp_path, access) as service:
        foreign = trustme.CA().issue_cert("till.shop")
        found = await asyncio.gather(*(call(service, certificate=foreign) for _ in range(CONNECTIONS)))
        assert set(found) == {"UNAVAILABLE"}
        assert await call(service, certificate=TILL) == "UNAUTHENTICATED"
        context = trusting(AUTHORITY, TILL)
        page = await asyncio.to_thread(read_metrics, service, context, "till")
        assert "truestock_workers 2.0" in page
        assert await asyncio.to_thread(read_metrics, service, context, "nobody") == "HTTPError"
        assert await asyncio.to_thread(read_metrics, service, trusting(AUTHORITY), "till") != page


async def test_a_worker_that_starts_again_has_the_renewed_certificate_and_the_new_principals(
    database_url: str, tmp_path: Path
) -> None:
    renewed, access = trustme.CA(), "principals:\n" + principal("old", "read")
    async with served(database_url, tmp_path, access) as service:
        write_certificate(tmp_path, renewed)
        (tmp_path / "access.yaml").write_text(access + principal("new", "read"))
        for worker in workers():
            worker.kill()

        async def is_back() -> bool:
            async with connections(service, renewed) as channels:
                return await answers(channels, "new") == {"OK"}

        await eventually(is_back, 60)


def read_metrics(service: Running, context: ssl.SSLContext, token: str) -> str:
    """The page of metrics, or the kind of failure."""
    (_, value), *_ = bearer(token)
    request = urllib.request.Request(f"https://{service.metrics_address}/metrics", headers={"Authorization": value})
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as page:
            return str(page.read(), "utf-8")
    except (urllib.error.HTTPError, OSError) as error:
        return type(error).__name__
