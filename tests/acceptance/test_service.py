"""A service as its operators meet it: a process with health, reflection, metrics, rules on disk, and an end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from service.app.application import StartError, running
from service.database import migrate
from service.database.embedded.postgres import temporary_postgres
from service.policy.active_policies import RulesFolderError
from service.settings import Settings
from tests.conftest import PLAIN_RULES, REPOSITORY, RULES, RetailerMaker
from tests.retailer import Retailer, promised
from truestock.v1 import policy_service_pb2 as policy_pb

BROKEN = "kind: routing\npolicies:\n  - name: broken\n    position: ten\n"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A rules folder of its own, to edit while a service runs."""
    return Path(shutil.copytree(PLAIN_RULES, tmp_path / "rules"))


async def test_a_stranger_can_call_it_through_reflection(retailers: RetailerMaker) -> None:
    """What grpcurl does: list the services, fetch the descriptors, make a call from them."""
    retailer = await retailers.make()
    async with grpc.aio.insecure_channel(retailer.service.address) as channel:
        services, pool = await _described(channel, "truestock.v1.CatalogService")
        method = pool.FindServiceByName("truestock.v1.CatalogService").FindMethodByName("ListChannels")
        call = channel.unary_unary(
            "/truestock.v1.CatalogService/ListChannels",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        answer = await call(GetMessageClass(method.input_type)())

    assert {"truestock.v1.AllocationService", "grpc.health.v1.Health"} <= services
    assert [found.channel_id for found in answer.channels] == ["web"]


async def test_it_says_that_it_is_well(retailers: RetailerMaker) -> None:
    retailer = await retailers.make()
    async with grpc.aio.insecure_channel(retailer.service.address) as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    ready = await asyncio.to_thread(_get, retailer.service.metrics_address, "/readyz")

    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert ready == "ready\n"


async def test_known_counters_start_at_0_so_that_the_first_rise_is_seen(retailers: RetailerMaker) -> None:
    retailer = await retailers.make()

    page = await asyncio.to_thread(_get, retailer.service.metrics_address, "/metrics")

    assert 'truestock_oversold_units_total{cause="race",channel="web"} 0.0' in page
    assert 'truestock_manual_interventions_total{channel="web",reason="review"} 0.0' in page
    assert f'truestock_policy_info{{revision="{retailer.service.policy_revision}"}} 1.0' in page


async def test_a_saved_rule_is_in_force_soon(retailers: RetailerMaker, rules: Path) -> None:
    retailer = await retailers.make(rules)
    await retailer.stock({("MUG", "dc"): 5})

    (rules / "buffer.yaml").write_text(
        "kind: buffer\nname: all\nscope: location\nrules:\n  - {name: keep-two, hold_back: {units: 2}}\n"
    )

    await _soon(lambda: _sells(retailer, 3))
    assert retailer.metric("policy_reloads_total", result="accepted") == 2


async def test_broken_rules_leave_the_last_good_ones_in_force_and_are_shown(
    retailers: RetailerMaker, rules: Path
) -> None:
    retailer = await retailers.make(rules)
    await retailer.stock({("MUG", "dc"): 5})

    (rules / "more.yaml").write_text(BROKEN)

    await _soon(lambda: _is_refused(retailer))
    found = await retailer.policies.GetPolicySet(policy_pb.GetPolicySetRequest())
    assert found.policy_revision == retailer.service.policy_revision
    assert ("rules/more.yaml", 4) in [(problem.file, problem.line) for problem in found.problems]
    assert retailer.metric("policy_problems") >= 1
    assert promised(await retailer.allocate("A-1", {"MUG": 1})) == {"dc": 1}
    (rules / "more.yaml").unlink()
    await _soon(lambda: _is_mended(retailer))


async def test_it_does_not_start_with_broken_rules_and_says_why(database_url: str, rules: Path) -> None:
    (rules / "more.yaml").write_text(BROKEN)
    settings = Settings(address="127.0.0.1:0", metrics_address="127.0.0.1:0", database_url=database_url, rules=rules)

    with pytest.raises(RulesFolderError, match=r"rules/more\.yaml:4:15: "):
        async with running(settings):
            pass


async def test_a_database_that_is_not_ours_is_never_migrated_unasked(empty_database_url: str) -> None:
    settings = Settings(
        address="127.0.0.1:0", metrics_address="127.0.0.1:0", database_url=empty_database_url, rules=PLAIN_RULES
    )

    with pytest.raises(StartError, match="truestock migrate"):
        async with running(settings):
            pass


async def test_an_address_in_use_is_named(retailers: RetailerMaker) -> None:
    retailer = await retailers.make()
    settings = Settings(
        address=retailer.service.address,
        metrics_address="127.0.0.1:0",
        database_url=retailer.database_url,
        rules=PLAIN_RULES,
    )

    with pytest.raises(StartError, match=retailer.service.address):
        async with running(settings):
            pass


async def test_it_says_that_it_is_not_ready_while_the_database_is_away() -> None:
    with temporary_postgres(settings={"fsync": "off"}) as server:
        await migrate.migrate(server.database_url)
        settings = Settings(
            address="127.0.0.1:0", metrics_address="127.0.0.1:0", database_url=server.database_url, rules=PLAIN_RULES
        )
        async with running(settings) as service, grpc.aio.insecure_channel(service.address) as channel:
            assert await asyncio.to_thread(_status, service.metrics_address, "/readyz") == 200

            await asyncio.to_thread(server.stop)

            await _soon(lambda: _is_not_ready(service.metrics_address), seconds=10)
            health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert await asyncio.to_thread(_status, service.metrics_address, "/healthz") == 200


def test_it_ends_when_its_own_postgresql_has_ended() -> None:
    data = _data_folder()
    try:
        service = _Process(data)
        # The first line of PostgreSQL's own file is the number of its process.
        os.kill(int((data / "pgdata" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        try:
            service.process.communicate(timeout=30)
        finally:
            service.process.kill()
    finally:
        shutil.rmtree(data, ignore_errors=True)

    assert service.process.returncode == 1


def test_the_readmes_first_command_serves_the_sample_and_keeps_its_data(tmp_path: Path) -> None:
    """A first start loads the sample, Ctrl-C ends it all, and a second start finds the data as they were."""
    data = _data_folder()
    try:
        first = _serve_until_ready(data)
        sold = _run(
            "allocate", "--channel", "shopify", "--order", "A-1", "--line", "TRN-1205-MOS:2", "--sold", at=first
        )
        _stop(first)
        second = _serve_until_ready(data)
        again = _run("explain", "shopify/A-1", at=second)
        _stop(second)
    finally:
        shutil.rmtree(data, ignore_errors=True)

    assert "sample" in first.heard
    assert "sample" not in second.heard
    assert "allocated" in sold
    assert "TRN-1205-MOS" in again


async def _soon(happened: Callable[[], Awaitable[bool]], *, seconds: float = 2) -> None:
    """Asks again and again, as an outsider has to."""
    async with asyncio.timeout(seconds):
        while not await happened():  # noqa: ASYNC110 - the service is asked from outside
            await asyncio.sleep(0.05)


async def _is_not_ready(address: str) -> bool:
    return await asyncio.to_thread(_status, address, "/readyz") == 503


async def _sells(retailer: Retailer, units: int) -> bool:
    return await retailer.sellable("MUG") == units


async def _is_refused(retailer: Retailer) -> bool:
    return bool((await retailer.policies.GetPolicySet(policy_pb.GetPolicySetRequest())).problems)


async def _is_mended(retailer: Retailer) -> bool:
    return not await _is_refused(retailer)


class _Process:
    def __init__(self, data: Path) -> None:
        command = [sys.executable, "-m", "service", "serve", "--data-dir", str(data), "--rules", str(RULES)]
        ports = ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"]
        self.process = subprocess.Popen([*command, *ports], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        self.heard = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard += line
            if "Ctrl-C" in line:
                break
        self.address = self.heard.split("gRPC", 1)[1].split()[0]


def _serve_until_ready(data: Path) -> _Process:
    return _Process(data)


def _stop(service: _Process) -> None:
    service.process.send_signal(signal.SIGINT)
    said, _ = service.process.communicate(timeout=30)
    assert "Stopped." in said
    assert service.process.returncode == 0


def _run(*arguments: str, at: _Process) -> str:
    command = [sys.executable, "-m", "service", *arguments, "--server", at.address]
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout


def _data_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="truestock-data-"))
    folder.chmod(0o711)
    return folder


def _status(address: str, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def _get(address: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:  # - our own server
        text: str = answer.read().decode()
        return text


async def _described(channel: grpc.aio.Channel, service: str) -> tuple[set[str], DescriptorPool]:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    questions = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=service),
    ]
    answers = [answer async for answer in stub.ServerReflectionInfo(iter(questions))]
    pool = DescriptorPool()
    files = [FileDescriptorProto.FromString(raw) for raw in answers[1].file_descriptor_response.file_descriptor_proto]
    _add(pool, files)
    return {found.name for found in answers[0].list_services_response.service}, pool


def _add(pool: DescriptorPool, files: list[FileDescriptorProto]) -> None:
    """Adds files once what they import is there."""
    added: set[str] = set()
    while len(added) < len(files):
        for file in files:
            if file.name not in added and set(file.dependency) <= added:
                pool.Add(file)
                added.add(file.name)
