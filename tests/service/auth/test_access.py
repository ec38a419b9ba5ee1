"""Who may call what: tokens, certificates and roles, held against every method of the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import structlog
import trustme
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from service.app.application import Running, running
from service.app.listening import StartError
from service.app.wiring import SERVICE_NAMES
from service.auth.principals import Role
from service.auth.tokens import digest_of
from service.rpc.method_roles import required_role
from tests.conftest import PLAIN_RULES, RULES, service_settings
from truestock.v1 import access_pb2, allocation_service_pb2 as allocation_pb, exception_service_pb2 as exception_pb
from truestock.v1.allocation_service_pb2_grpc import AllocationServiceStub
from truestock.v1.catalog_service_pb2 import ListChannelsRequest
from truestock.v1.catalog_service_pb2_grpc import CatalogServiceStub
from truestock.v1.exception_pb2 import ExceptionResolution
from truestock.v1.exception_service_pb2_grpc import ExceptionServiceStub

METHODS = [
    method for service in SERVICE_NAMES for method in descriptor_pool.Default().FindServiceByName(service).methods
]


WRONG_TOKENS = ("Bearer tst_other", "Bearer tst_old", "Bearer tst_reade")


def principal(name: str, roles: str, **more: str) -> str:
    """An entry of an access file; the token is `tst_` and the name."""
    fields = "".join(f", {key}: {value}" for key, value in more.items())
    return f"  - {{name: {name}, roles: [{roles}], tokens: [{{sha256: {digest_of(f'tst_{name}').hex()}}}]{fields}}}\n"


@asynccontextmanager
async def served(database_url: str, access: Path, **settings: object) -> AsyncIterator[Running]:
    changed = service_settings(database_url, PLAIN_RULES).model_copy(update={"access": access, **settings})
    async with running(changed) as service:
        yield service


def bearer(name: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer tst_{name}"),)


async def status(channel: grpc.aio.Channel, path: str, *, streams: bool, metadata: tuple[tuple[str, str], ...]) -> str:
    """The status of a call with an empty request; OK for a stream that has not failed after its first message."""
    # The type stubs say that gRPC wants functions for messages; without them it takes and gives bytes.
    make: Any = channel.unary_stream if streams else channel.unary_unary
    call = make(path)(b"", metadata=metadata, timeout=30)
    try:
        await (call.read() if streams else call)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    finally:
        call.cancel()
    return "OK"


def path_of(method: object) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_states_the_role_that_it_needs(method: object) -> None:
    assert method.GetOptions().Extensions[access_pb2.required_role] != access_pb2.ROLE_UNSPECIFIED  # type: ignore[attr-defined]


async def test_each_role_may_call_its_own_methods_and_no_others(database_url: str, tmp_path: Path) -> None:
    access = tmp_path / "access.yaml"
    access.write_text("principals:\n" + "".join(principal(role, role) for role in Role))
    wrong: list[tuple[str, str, str]] = []
    async with served(database_url, access) as service, grpc.aio.insecure_channel(service.address) as channel:
        for method in METHODS:
            path = path_of(method)
            if method.client_streaming:
                continue
            for role in Role:
                code = await status(channel, path, streams=method.server_streaming, metadata=bearer(role))
                may = role in {Role.ADMIN, required_role(path)}
                if may == (code == "PERMISSION_DENIED") or code == "UNAUTHENTICATED":
                    wrong.append((role, method.name, code))
            if await status(channel, path, streams=method.server_streaming, metadata=()) != "UNAUTHENTICATED":
                wrong.append(("nobody", method.name, "may call it"))
    assert not wrong


async def test_streams_of_requests_are_refused_before_their_first_message(database_url: str, tmp_path: Path) -> None:
    access = tmp_path / "access.yaml"
    access.write_text("principals:\n" + principal("reader", "read"))
    async with served(database_url, access) as service, grpc.aio.insecure_channel(service.address) as channel:
        for method in METHODS:
            if not method.client_streaming:
                continue
            for metadata, expected in (((), "UNAUTHENTICATED"), (bearer("reader"), "PERMISSION_DENIED")):
                make: Any = channel.stream_stream
                call = make(path_of(method))(metadata=metadata, timeout=30)
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call.read()
                assert refused.value.code().name == expected


async def test_health_is_told_to_everybody_and_reflection_to_readers(database_url: str, tmp_path: Path) -> None:
    access = tmp_path / "access.yaml"
    access.write_text("principals:\n" + principal("reader", "read") + principal("seller", "allocate"))

    def reflection(channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> Any:
        return reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(metadata=metadata, timeout=30)

    async with served(database_url, access) as service, grpc.aio.insecure_channel(service.address) as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        for metadata, expected in (((), "UNAUTHENTICATED"), (bearer("seller"), "PERMISSION_DENIED")):
            # Without a request: a call that is refused may have ended before one is written.
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await reflection(channel, metadata).read()
            assert refused.value.code().name == expected
        call = reflection(channel, bearer("reader"))
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        await call.done_writing()
        assert "truestock.v1.AllocationService" in str(await call.read())
        assert (await call.code()).name == "OK"


async def test_tokens_are_refused_alike_whatever_is_wrong_with_them(database_url: str, tmp_path: Path) -> None:
    access = tmp_path / "access.yaml"
    access.write_text(
        "principals:\n"
        + principal("reader", "read")
        + f"  - {{name: old, roles: [read], tokens: [{{sha256: {digest_of('tst_old').hex()}, expires: 2026-11-01}}]}}\n"
    )
    refused = set()
    async with served(database_url, access) as service, grpc.aio.insecure_channel(service.address) as channel:
        for value in (
            "Bearer tst_other",
            "Bearer tst_old",
            "Bearer tst_reade",
            "Bearer ",
            "Basic tst_reader",
            "tst_reader",
        ):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await CatalogServiceStub(channel).ListChannels(
                    ListChannelsRequest(), metadata=(("authorization", value),)
                )
            refused.add((error.value.code().name, error.value.details()))
        accepted = await CatalogServiceStub(channel).ListChannels(
            ListChannelsRequest(), metadata=(("authorization", "bearer tst_reader"),)
        )
    assert accepted is not None
    assert [code for code, _ in refused] == ["UNAUTHENTICATED"]


async def test_a_changed_access_file_is_in_force_and_one_with_problems_is_not(
    database_url: str, tmp_path: Path
) -> None:
    access = tmp_path / "access.yaml"

    async def code(channel: grpc.aio.Channel, name: str) -> str:
        return await status(channel, "/truestock.v1.CatalogService/ListChannels", streams=False, metadata=bearer(name))

    async def becomes(channel: grpc.aio.Channel, name: str, expected: str) -> None:
        async with asyncio.timeout(20):
            while await code(channel, name) != expected:
                pass

    async with served(database_url, access) as service, grpc.aio.insecure_channel(service.address) as channel:
        assert await code(channel, "nobody") == "OK"
        access.write_text("principals:\n" + principal("first", "read"))
        await becomes(channel, "nobody", "UNAUTHENTICATED")
        assert await code(channel, "first") == "OK"

        with structlog.testing.capture_logs() as logs:
            access.write_text("principals:\n" + principal("second", "reed"))
            async with asyncio.timeout(20):
                while not any("refused" in line["event"] for line in logs):
                    await code(channel, "first")
        assert "a role cannot be 'reed'" in str(logs)
        assert await code(channel, "first") == "OK"

        access.unlink()
        access.with_suffix(".new").write_text("principals:\n" + principal("second", "read"))
        access.with_suffix(".new").rename(access)
        await becomes(channel, "second", "OK")
        assert await code(channel, "first") == "UNAUTHENTICATED"


async def test_a_service_does_not_start_with_an_access_file_that_has_problems(
    database_url: str, tmp_path: Path
) -> None:
    access = tmp_path / "access.yaml"
    access.write_text("principals:\n  - name: ops\n    roles: [reed]\n")

    with pytest.raises(StartError, match=r"access.yaml:3:13: a role cannot be 'reed'"):
        async with served(database_url, access):
            pass


async def test_the_certificate_of_a_connection_says_who_calls(database_url: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    own = authority.issue_cert("127.0.0.1")
    (tmp_path / "server.pem").write_bytes(own.cert_chain_pems[0].bytes())
    (tmp_path / "server.key").write_bytes(own.private_key_pem.bytes())
    access = tmp_path / "access.yaml"
    access.write_text(
        "principals:\n  - {name: till, roles: [read], certificates: [till.shop.example]}\n"
        + principal("seller", "allocate")
    )
    files = {"tls_cert": "server.pem", "tls_key": "server.key", "client_ca": "ca.pem"}

    async def code(service: Running, name: str, metadata: tuple[tuple[str, str], ...] = ()) -> str:
        shown = authority.issue_cert(name)
        credentials = grpc.ssl_channel_credentials(
            authority.cert_pem.bytes(), shown.private_key_pem.bytes(), shown.cert_chain_pems[0].bytes()
        )
        async with grpc.aio.secure_channel(service.address, credentials) as channel:
            return await status(channel, "/truestock.v1.CatalogService/ListChannels", streams=False, metadata=metadata)

    async with served(database_url, access, **{setting: tmp_path / name for setting, name in files.items()}) as service:
        assert await code(service, "till.shop.example") == "OK"
        assert await code(service, "other.shop.example") == "UNAUTHENTICATED"
        # A token counts for more than a certificate: a program behind a shared one says who it is.
        assert await code(service, "till.shop.example", bearer("seller")) == "PERMISSION_DENIED"


async def test_the_history_names_who_called_and_not_who_was_stated(database_url: str, tmp_path: Path) -> None:
    access = tmp_path / "access.yaml"
    access.write_text(
        "principals:\n"
        + principal("desk", "exceptions, allocate, read")
        + principal("tablet", "exceptions", on_behalf_of="true")
    )
    recorded = []
    async with served(database_url, access) as service, grpc.aio.insecure_channel(service.address) as channel:
        stub = ExceptionServiceStub(channel)
        for caller, stated in (("desk", "anna"), ("desk", ""), ("tablet", "anna"), ("tablet", "")):
            reported = await stub.ReportSyncFailure(
                exception_pb.ReportSyncFailureRequest(source=f"{caller}-{stated}", description="no answer"),
                metadata=bearer("desk"),
            )
            resolved = await stub.ResolveException(
                exception_pb.ResolveExceptionRequest(
                    exception_id=reported.exception.exception_id,
                    resolution=ExceptionResolution.EXCEPTION_RESOLUTION_NO_ACTION,
                    actor=stated,
                ),
                metadata=bearer(caller),
            )
            detail = await stub.GetException(
                exception_pb.GetExceptionRequest(exception_id=resolved.exception.exception_id), metadata=bearer("desk")
            )
            recorded.append(detail.history[-1].actor)
    assert recorded == ["desk", "desk", "anna via tablet", "tablet"]


async def test_a_principal_that_is_bound_to_a_channel_sees_and_changes_its_orders_only(
    database_url: str, tmp_path: Path
) -> None:
    access = tmp_path / "access.yaml"
    access.write_text(
        "principals:\n" + principal("ops", "admin") + principal("shop", "read, allocate", channels="[shopify]")
    )
    async with (
        served(database_url, access, rules=RULES, sample=True) as service,
        grpc.aio.insecure_channel(service.address) as channel,
    ):
        orders = AllocationServiceStub(channel)

        async def get(name: str, allocation_id: str) -> str:
            request = allocation_pb.GetAllocationRequest(allocation_id=allocation_id)
            try:
                return (await orders.GetAllocation(request, metadata=bearer(name))).allocation.allocation_id
            except grpc.aio.AioRpcError as error:
                return error.code().name

        everything = await orders.ListAllocations(allocation_pb.ListAllocationsRequest(), metadata=bearer("ops"))
        ids = {listed.channel_id: listed.allocation_id for listed in everything.allocations}
        own, foreign = ids["shopify"], ids["tiktok_shop"]
        seen = await orders.ListAllocations(allocation_pb.ListAllocationsRequest(), metadata=bearer("shop"))

        assert {listed.channel_id for listed in seen.allocations} == {"shopify"}
        assert await get("shop", own) == own
        assert await get("shop", foreign) == await get("shop", str(uuid4())) == "PERMISSION_DENIED"
        assert await get("ops", foreign) == foreign
        watch = orders.WatchOrders(
            allocation_pb.WatchOrdersRequest(channel_ids=["tiktok_shop"]), metadata=bearer("shop")
        )
        with pytest.raises(grpc.aio.AioRpcError, match="bound to the channel shopify"):
            await watch.read()


async def test_watches_count_as_calls_in_progress_until_they_end(database_url: str, tmp_path: Path) -> None:
    access = tmp_path / "access.yaml"
    access.write_text("principals:\n" + principal("board", "read", calls_in_progress="1"))
    async with served(database_url, access) as service, grpc.aio.insecure_channel(service.address) as channel:
        watch = AllocationServiceStub(channel).WatchOrders(allocation_pb.WatchOrdersRequest(), metadata=bearer("board"))
        await watch.read()
        path = "/truestock.v1.CatalogService/ListChannels"
        assert await status(channel, path, streams=False, metadata=bearer("board")) == "RESOURCE_EXHAUSTED"

        watch.cancel()

        async with asyncio.timeout(20):
            while await status(channel, path, streams=False, metadata=bearer("board")) != "OK":
                pass
