"""A service of several processes: one address, one page of metrics, and no order lost when one of them is killed."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from bench.module_process import children_with
from service.app.application import Running
from service.app.listening import StartError
from service.app.workers import workers as workers_module
from service.app.workers.supervisor import running_workers
from service.app.workers.worker_link import MODULE
from tests.conftest import PLAIN_RULES, service_process, service_settings
from tests.counters import counted, written
from tests.http2_frames import END_HEADERS, HEADERS, frame, opening
from tests.retailer import Retailer, eventually
from tests.service.app.test_restarted_servers import REQUEST, check
from tests.steady_shoppers import OWN_CONNECTION, Shoppers, check_each_order_is_there_once
from tests.waiting import within
from truestock.v1 import (
    availability_service_pb2 as availability_pb,
    policy_service_pb2 as policy_pb,
    policy_service_pb2_grpc as policy_grpc,
)

pytestmark = [pytest.mark.database, pytest.mark.long]

SKUS = [f"SKU-{number}" for number in range(20)]
STOCK = {(sku, "dc"): 10_000 for sku in SKUS}


@asynccontextmanager
async def served(
    database_url: str, rules: Path = PLAIN_RULES, workers: int = 2
) -> AsyncIterator[tuple[Running, Retailer]]:
    settings = service_settings(database_url, rules).model_copy(update={"workers": workers})
    async with running_workers(settings) as service, Retailer.connect(service, database_url) as shop:
        await shop.set_up()
        await shop.stock(STOCK)
        yield service, shop


def workers() -> list[psutil.Process]:
    """The worker processes of this test, oldest first."""
    return children_with(MODULE)


async def page_of(service: Running, path: str = "/metrics") -> str:
    def read() -> str:
        with urllib.request.urlopen(f"http://{service.metrics_address}{path}", timeout=10) as answer:
            page: str = answer.read().decode()
        return page

    return await asyncio.to_thread(read)


async def metrics_of(service: Running) -> list[Metric]:
    return list(text_string_to_metric_families(await page_of(service)))


def total(families: list[Metric], name: str, **labels: str) -> float:
    samples = (sample for family in families for sample in family.samples)
    return sum(x.value for x in samples if x.name == f"truestock_{name}" and labels.items() <= x.labels.items())


async def test_two_workers_are_one_service_with_one_page_of_metrics(database_url: str, tmp_path: Path) -> None:
    rules = Path(shutil.copytree(PLAIN_RULES, tmp_path / "rules"))
    async with served(database_url, rules) as (service, shop), Shoppers.connect([service.address], 40) as shoppers:
        cpu_before = [sum(worker.cpu_times()[:2]) for worker in workers()]
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(2, stop.set)
        await shoppers.order(stop, SKUS)
        reads = [
            shoppers.availability().CheckAvailability(
                availability_pb.CheckAvailabilityRequest(channel_id="web", skus=[sku]), timeout=20
            )
            for sku in SKUS * 4
        ]
        await asyncio.gather(*reads)
        cpu_after = [sum(worker.cpu_times()[:2]) for worker in workers()]
        used = [after - before for before, after in zip(cpu_before, cpu_after, strict=True)]
        families = await metrics_of(service)
        tables = await written(shop)

        # The kernel gives each connection to one of them: 40 never go to one alone.
        assert min(used) > 0.1 * sum(used)
        assert total(families, "workers") == 2
        assert total(families, "rpc_duration_seconds_count", method="AvailabilityService/CheckAvailability") == 80
        assert counted(families) == tables
        assert total(families, "database_up") == 1
        assert await page_of(service, "/readyz") == "ready\n"
        assert [sample.value for f in families if f.name == "truestock_policy_info" for sample in f.samples] == [1]

        (rules / "buffer.yaml").write_text(
            "kind: buffer\nname: all\nscope: location\nrules:\n  - {name: keep-two, hold_back: {units: 2}}\n"
        )

        async def is_in_force_on_all() -> bool:
            revisions = {await _revision(channel) for channel in shoppers.channels}
            return revisions.isdisjoint({service.policy_revision}) and len(revisions) == 1

        await within(is_in_force_on_all, 2)
        assert (await shop.ledger()).balanced


async def _revision(channel: grpc.aio.Channel) -> str:
    response = await policy_grpc.PolicyServiceStub(channel).GetPolicySet(policy_pb.GetPolicySetRequest(), timeout=20)
    return str(response.policy_revision)


async def test_orders_are_placed_once_while_workers_are_killed(database_url: str) -> None:
    async with served(database_url) as (service, shop), Shoppers.connect([service.address]) as shoppers:
        stop = asyncio.Event()
        ordering = asyncio.create_task(shoppers.order(stop, SKUS))
        for number in range(3):
            before = {worker.pid for worker in workers()}
            answered = len(shoppers.answers)

            async def goes_on(answered: int = answered) -> bool:
                return len(shoppers.answers) > answered + 50

            await eventually(goes_on, 60)
            workers()[0].send_signal(signal.SIGKILL)

            async def is_replaced(before: set[int] = before, restarts: int = number + 1) -> bool:
                families = await metrics_of(service)
                return total(families, "workers") == 2 and total(families, "worker_restarts_total") == restarts

            await eventually(is_replaced, 60)
            assert len({worker.pid for worker in workers()} - before) == 1
        stop.set()
        await ordering
        await shoppers.ask_again()
        families, tables = counted(await metrics_of(service)), await written(shop)

        await check_each_order_is_there_once(shop, shoppers, STOCK)
        assert all(count <= tables[key] for key, count in families.items())


async def test_a_worker_that_starts_while_the_rules_are_broken_has_the_last_valid_ones(
    database_url: str, tmp_path: Path
) -> None:
    rules = Path(shutil.copytree(PLAIN_RULES, tmp_path / "rules"))
    async with served(database_url, rules) as (service, _):
        (rules / "more.yaml").write_text("kind: routing\npolicies:\n  - name: broken\n    position: ten\n")

        async def is_refused() -> bool:
            return total(await metrics_of(service), "policy_problems") > 0

        await eventually(is_refused)
        for worker in workers():
            worker.kill()

        async def are_back() -> bool:
            return total(await metrics_of(service), "workers") == 2

        await eventually(are_back, 60)
        await eventually(is_refused)
        async with grpc.aio.insecure_channel(service.address, options=OWN_CONNECTION) as channel:
            assert await _revision(channel) == service.policy_revision


async def test_a_service_whose_workers_are_all_gone_is_not_ready(database_url: str) -> None:
    async with served(database_url) as (service, _):
        for worker in workers():
            worker.kill()

        async def is_not_ready() -> bool:
            try:
                await page_of(service, "/readyz")
            except urllib.error.HTTPError as error:
                return error.code == 503
            return False

        async def is_ready() -> bool:
            return not await is_not_ready()

        await eventually(is_not_ready)
        await eventually(is_ready, 60)


async def test_a_worker_that_hangs_is_ended_and_started_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers_module, "LOOKS_UNANSWERED", 5)
    async with served(database_url) as (service, _), Shoppers.connect([service.address]) as shoppers:
        hanging, other = workers()
        hanging.send_signal(signal.SIGSTOP)

        async def is_replaced() -> bool:
            families = await metrics_of(service)
            return hanging.pid not in {worker.pid for worker in workers()} and total(families, "workers") == 2

        await eventually(is_replaced, 60)
        pids = {worker.pid for worker in workers()}
        families = await metrics_of(service)
        revisions = [await _revision(channel) for channel in shoppers.channels]

    assert hanging.pid not in pids
    assert other.pid in pids
    assert total(families, "worker_hangs_total") == total(families, "worker_restarts_total") == 1
    assert set(revisions) == {service.policy_revision}
    # Another test of this process may have sent the log to the other stream.
    assert "it did not answer 5 looks in a row" in "".join(capfd.readouterr())


async def test_a_worker_that_stands_still_for_seconds_is_left_alone(database_url: str) -> None:
    async with served(database_url) as (service, _):
        before = {worker.pid for worker in workers()}
        workers()[0].send_signal(signal.SIGSTOP)
        await asyncio.sleep(4)
        workers()[0].send_signal(signal.SIGCONT)
        families = await metrics_of(service)

        assert {worker.pid for worker in workers()} == before
        assert total(families, "worker_hangs_total") == 0


async def test_a_service_that_stops_leaves_no_worker(database_url: str) -> None:
    async with served(database_url) as (service, _):
        pids = [worker.pid for worker in workers()]

    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)
    async with grpc.aio.insecure_channel(service.address) as channel:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(channel.channel_ready(), 1)


async def test_workers_end_with_the_process_that_started_them(database_url: str) -> None:
    arguments = ("--workers", "2", "--rules", str(PLAIN_RULES), "--database-url", database_url)
    with service_process(*arguments):
        [service] = children_with("--workers")
        started = service.children()
        service.kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, started, 60)

    assert len(started) == 2
    assert alive == []


async def test_two_services_with_workers_do_not_share_an_address(database_url: str) -> None:
    async with served(database_url) as (service, _):
        second = service_settings(database_url, PLAIN_RULES, address=service.address).model_copy(update={"workers": 2})
        with pytest.raises(StartError, match="choose another --address"):
            async with running_workers(second):
                pass


async def test_a_path_that_is_no_text_leaves_the_address_to_workers_that_answer(
    database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """It ends grpcio's server in one worker, whose new one must share the address again."""
    log: list[str] = []

    async def is_restarted() -> bool:
        log.append(capfd.readouterr().err)
        return "gRPC server restarted" in "".join(log)

    async with served(database_url) as (service, _):
        host, _, port = service.address.rpartition(":")
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(opening() + frame(HEADERS, END_HEADERS, 1, REQUEST))
            await eventually(is_restarted)
        answers = await asyncio.gather(*(check(int(port)) for _ in range(40)))

    assert answers == [health_pb2.HealthCheckResponse.SERVING] * 40
