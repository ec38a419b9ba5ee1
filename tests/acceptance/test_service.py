"""A service as its operators see it: a process with health, reflection, metrics, rules on disk, and a shutdown."""

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
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from service.app.application import running
from service.app.listening import StartError
from service.database import migrate
from service.database.embedded.postgres import temporary_postgres
from service.policy.active_policies import RulesFolderError
from service.settings import Settings
from tests.conftest import PLAIN_RULES, REPOSITORY, RULES, RetailerMaker
from tests.retailer import Retailer, promised
from tests.waiting import within
from truestock.v1 import policy_service_pb2 as policy_pb

pytestmark = pytest.mark.database

BROKEN = "kind: routing\npolicies:\n  - name: broken\n    position: ten\n"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A copy of the plain rules, to edit while a service runs."""
    return Path(shutil.copytree(PLAIN_RULES, tmp_path / "rules"))


async def test_grpcurl_can_call_the_service_through_reflection(retailers: RetailerMaker) -> None:
    """As grpcurl does: lists the services, fetches the descriptors, and makes a call with them."""
    retailer = await retailers.make()
    async with grpc.aio.insecure_channel(retailer.service.address) as channel:
        services, pool = await _descriptors(channel, "truestock.v1.CatalogService")
        method = pool.FindServiceByName("truestock.v1.CatalogService").FindMethodByName("ListChannels")
        call = channel.unary_unary(
            "/truestock.v1.CatalogService/ListChannels",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        response = await call(GetMessageClass(method.input_type)())

    assert {"truestock.v1.AllocationService", "grpc.health.v1.Health"} <= services
    assert [channel.channel_id for channel in response.channels] == ["web"]


async def test_health_check_and_readyz_report_a_service_that_is_ready(retailers: RetailerMaker) -> None:
    retailer = await retailers.make()
    async with grpc.aio.insecure_channel(retailer.service.address) as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    ready = await asyncio.to_thread(_fetch, retailer.service.metrics_address, "/readyz")

    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert ready == "ready\n"


async def test_counters_start_at_0_so_that_their_first_increase_is_visible(retailers: RetailerMaker) -> None:
    retailer = await retailers.make()

    page = await asyncio.to_thread(_fetch, retailer.service.metrics_address, "/metrics")

    assert 'truestock_oversold_units_total{cause="race",channel="web"} 0.0' in page
    assert 'truestock_manual_interventions_total{channel="web",reason="review"} 0.0' in page
    assert f'truestock_policy_info{{revision="{retailer.service.policy_revision}"}} 1.0' in page


async def test_a_saved_rule_is_in_force_within_two_seconds(retailers: RetailerMaker, rules: Path) -> None:
    retailer = await retailers.make(rules)
    await retailer.stock({("MUG", "dc"): 5})

    (rules / "buffer.yaml").write_text(
        "kind: buffer\nname: all\nscope: location\nrules:\n  - {name: keep-two, hold_back: {units: 2}}\n"
    )

    await within(lambda: _sells(retailer, 3), 2)
    assert retailer.metric("policy_reloads_total", result="accepted") == 2


async def test_broken_rules_are_reported_and_the_last_good_rules_stay_in_force(
    retailers: RetailerMaker, rules: Path
) -> None:
    retailer = await retailers.make(rules)
    await retailer.stock({("MUG", "dc"): 5})

    (rules / "more.yaml").write_text(BROKEN)

    await within(lambda: _has_problems(retailer), 2)
    policy_set = await retailer.policies.GetPolicySet(policy_pb.GetPolicySetRequest())
    assert policy_set.policy_revision == retailer.service.policy_revision
    assert ("rules/more.yaml", 4) in [(problem.file, problem.line) for problem in policy_set.problems]
    assert retailer.metric("policy_problems") >= 1
    assert promised(await retailer.allocate("A-1", {"MUG": 1})) == {"dc": 1}
    (rules / "more.yaml").unlink()
    await within(lambda: _has_no_problems(retailer), 2)


async def test_a_service_with_broken_rules_does_not_start_and_reports_why(database_url: str, rules: Path) -> None:
    (rules / "more.yaml").write_text(BROKEN)
    settings = Settings(address="127.0.0.1:0", metrics_address="127.0.0.1:0", database_url=database_url, rules=rules)

    with pytest.raises(RulesFolderError, match=r"rules/more\.yaml:4:15: "):
        async with running(settings):
            pass


async def test_an_external_database_is_migrated_only_by_the_migrate_command(empty_database_url: str) -> None:
    settings = Settings(
        address="127.0.0.1:0", metrics_address="127.0.0.1:0", database_url=empty_database_url, rules=PLAIN_RULES
    )

    with pytest.raises(StartError, match="truestock migrate"):
        async with running(settings):
            pass


async def test_an_address_in_use_is_reported(retailers: RetailerMaker) -> None:
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


async def test_a_service_is_not_ready_while_its_database_is_down() -> None:
    with temporary_postgres(settings={"fsync": "off"}) as server:
        await migrate.migrate(server.database_url)
        settings = Settings(
            address="127.0.0.1:0", metrics_address="127.0.0.1:0", database_url=server.database_url, rules=PLAIN_RULES
        )
        async with running(settings) as service, grpc.aio.insecure_channel(service.address) as channel:
            assert await asyncio.to_thread(_status, service.metrics_address, "/readyz") == 200

            await asyncio.to_thread(server.stop)

            await within(lambda: _is_not_ready(service.metrics_address), 10)
            health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert await asyncio.to_thread(_status, service.metrics_address, "/healthz") == 200


@pytest.mark.long
def test_a_service_ends_when_its_embedded_postgresql_has_ended() -> None:
    data = _data_folder()
    try:
        service = _Process(data)
        # The first line of PostgreSQL's pid file is its process id.
        os.kill(int((data / "pgdata" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        try:
            service.process.communicate(timeout=30)
        finally:
            service.process.kill()
    finally:
        shutil.rmtree(data, ignore_errors=True)

    assert service.process.returncode == 1


def test_the_first_command_of_the_readme_serves_the_sample_and_keeps_its_data(tmp_path: Path) -> None:
    """The first start loads the sample, Ctrl-C stops service and database, and the second start finds the data."""
    data = _data_folder()
    try:
        first = _serve_until_ready(data)
        allocated = _run(
            "allocate", "--channel", "shopify", "--order", "A-1", "--line", "TRN-1205-MOS:2", "--sold", at=first
        )
        _stop(first)
        second = _serve_until_ready(data)
        explained = _run("explain", "shopify/A-1", at=second)
        _stop(second)
    finally:
        shutil.rmtree(data, ignore_errors=True)

    assert "sample" in first.output
    assert "sample" not in second.output
    assert "allocated" in allocated
    assert "TRN-1205-MOS" in explained


async def _is_not_ready(address: str) -> bool:
    return await asyncio.to_thread(_status, address, "/readyz") == 503


async def _sells(retailer: Retailer, units: int) -> bool:
    return await retailer.sellable("MUG") == units


async def _has_problems(retailer: Retailer) -> bool:
    return bool((await retailer.policies.GetPolicySet(policy_pb.GetPolicySetRequest())).problems)


async def _has_no_problems(retailer: Retailer) -> bool:
    return not await _has_problems(retailer)


class _Process:
    def __init__(self, data: Path) -> None:
        command = [sys.executable, "-m", "service", "serve", "--data-dir", str(data), "--rules", str(RULES)]
        ports = ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"]
        self.process = subprocess.Popen([*command, *ports], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        self.output = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if "Ctrl-C" in line:
                break
        self.address = self.output.split("gRPC", 1)[1].split()[0]


def _serve_until_ready(data: Path) -> _Process:
    return _Process(data)


def _stop(service: _Process) -> None:
    service.process.send_signal(signal.SIGINT)
    output, _ = service.process.communicate(timeout=30)
    assert "Stopped." in output
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
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def _fetch(address: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as response:
        text: str = response.read().decode()
        return text


async def _descriptors(channel: grpc.aio.Channel, service: str) -> tuple[set[str], DescriptorPool]:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=service),
    ]
    responses = [response async for response in stub.ServerReflectionInfo(iter(requests))]
    pool = DescriptorPool()
    files = [FileDescriptorProto.FromString(raw) for raw in responses[1].file_descriptor_response.file_descriptor_proto]
    _add(pool, files)
    return {listed.name for listed in responses[0].list_services_response.service}, pool


def _add(pool: DescriptorPool, files: list[FileDescriptorProto]) -> None:
    """Adds each file after the files that it imports."""
    added: set[str] = set()
    while len(added) < len(files):
        for file in files:
            if file.name not in added and set(file.dependency) <= added:
                pool.Add(file)
                added.add(file.name)
