"""Traces of a running service, received by a collector that speaks OTLP over gRPC."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from service.app.application import running
from service.app.listening import StartError
from service.observability.tracing import _summary
from service.settings import Settings
from tests.collector import Collector, running_collector
from tests.conftest import PLAIN_RULES, REPOSITORY, service_settings
from tests.retailer import HOLD, Retailer, order_request, refused

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


def traced(database_url: str, endpoint: str, sample_ratio: float = 1.0) -> Settings:
    changes = {"otel_endpoint": endpoint, "otel_sample_ratio": sample_ratio, "instance": "till-1"}
    return service_settings(database_url, PLAIN_RULES).model_copy(update=changes)


def attributes(span: Span) -> dict[str, Any]:
    return {entry.key: entry.value.string_value or entry.value.int_value for entry in span.attributes}


def children(collector: Collector, parent: Span) -> set[str]:
    return {span.name for span in collector.spans if span.parent_span_id == parent.span_id}


async def test_an_order_is_one_trace_from_its_caller_through_queue_transaction_decision_and_statements(
    database_url: str, collector: Collector
) -> None:
    async with (
        running(traced(database_url, collector.endpoint)) as service,
        Retailer.connect(service, database_url) as shop,
    ):
        await shop.set_up()
        await shop.stock({("MUG", "dc"): 5})
        metadata = [("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-01"), ("tracestate", "shopper=Erika Mustermann")]
        answer = await shop.allocations.AllocateOrder(order_request("A-1", {"MUG": 1}), metadata=metadata)
        await shop.sellable("MUG")
        await refused(shop.allocate("A-2", {"NOTHING": 1}, HOLD))

    call, refusal = collector.of("AllocationService/AllocateOrder")
    [transaction] = [span for span in collector.of("allocation") if span.parent_span_id == call.span_id]
    [decision] = [span for span in collector.of("decision") if span.parent_span_id == transaction.span_id]
    assert call.trace_id.hex() == transaction.trace_id.hex() == decision.trace_id.hex() == TRACE_ID
    assert call.parent_span_id.hex() == SPAN_ID
    assert not call.trace_state
    assert children(collector, call) == {"queue", "allocation"}
    assert {"BEGIN", "decision", "UPDATE stock_level", "COMMIT;"} <= children(collector, transaction)
    assert transaction.start_time_unix_nano <= decision.start_time_unix_nano < decision.end_time_unix_nano
    assert decision.end_time_unix_nano <= transaction.end_time_unix_nano <= call.end_time_unix_nano
    assert attributes(call)["rpc.response.status_code"] == "OK"
    assert attributes(call)["truestock.allocation_id"] == answer.allocation.allocation_id
    assert attributes(decision)["truestock.decision_id"] == answer.allocation.decision.decision_id
    assert attributes(decision)["truestock.outcome"] == "allocated"
    assert attributes(refusal)["rpc.response.status_code"] == "NOT_FOUND"
    [read] = collector.of("availability")
    assert "SELECT catalog_version" in children(collector, read)
    assert collector.names["service.name"] == "truestock"
    assert collector.names["service.instance.id"] == "till-1"


async def test_calls_that_share_a_transaction_are_linked_with_it(database_url: str, collector: Collector) -> None:
    async with (
        running(traced(database_url, collector.endpoint)) as service,
        Retailer.connect(service, database_url) as shop,
    ):
        await shop.set_up()
        await shop.stock({("MUG", "dc"): 50})
        await asyncio.gather(*(shop.allocate(f"A-{number}", {"MUG": 1}) for number in range(12)))

    calls = {span.span_id: span for span in collector.of("AllocationService/AllocateOrder")}
    transactions = {span.span_id: span for span in collector.of("allocation")}
    assert len(calls) == 12 > len(transactions)
    reached = []
    for transaction in transactions.values():
        others = [link.span_id for link in transaction.links]
        assert all(transaction.span_id in {link.span_id for link in calls[other].links} for other in others)
        reached += [transaction.parent_span_id, *others]
    assert sorted(reached) == sorted(calls)
    # Each decision is linked with the call of its own order.
    assert sorted(link.span_id for span in collector.of("decision") for link in span.links) == sorted(calls)
    assert all(span.parent_span_id in transactions for span in collector.of("decision"))


async def test_the_caller_decides_whether_its_call_is_traced(database_url: str, collector: Collector) -> None:
    async with (
        running(traced(database_url, collector.endpoint, 0)) as service,
        Retailer.connect(service, database_url) as shop,
    ):
        await shop.set_up()
        await shop.stock({("MUG", "dc"): 5})
        for flags in ("00", "01"):
            metadata = [("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-{flags}")]
            await shop.allocations.AllocateOrder(order_request(f"A-{flags}", {"MUG": 1}), metadata=metadata)
        await shop.allocate("A-3", {"MUG": 1})

    assert len(collector.of("AllocationService/AllocateOrder")) == 1
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE_ID}


async def test_a_collector_that_is_away_holds_up_neither_a_call_nor_the_end_of_the_service(database_url: str) -> None:
    loop = asyncio.get_running_loop()
    # Nothing listens there.
    async with running(traced(database_url, "http://127.0.0.1:1")) as service:
        async with Retailer.connect(service, database_url) as shop:
            await shop.set_up()
            await shop.stock({("MUG", "dc"): 5})
            assert await shop.sellable("MUG") == 5
        started = loop.time()

    # Without a bound it would take as long as calls in flight may: 2 seconds, and 3 to close.
    assert loop.time() - started < 4


async def test_traces_without_their_packages_are_a_sentence(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)

    with pytest.raises(StartError, match=r"install the extra otel: pip install 'truestock\[otel\]'"):
        async with running(traced(database_url, "http://127.0.0.1:1")):
            pass


@pytest.mark.long
def test_a_service_without_traces_imports_nothing_of_opentelemetry() -> None:
    program = "import sys, service.app.process, service.cli.main; print([m for m in sys.modules if 'telemetry' in m])"
    run = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert run.stdout == "[]\n"


@pytest.mark.parametrize(
    ("sql", "summary"),
    [
        ("SELECT a FROM product WHERE b", "SELECT product"),
        ("WITH x AS (INSERT INTO request (id) VALUES ($1)) SELECT 1", "INSERT request"),
        ("SELECT 1 FROM unnest($1) AS x JOIN (SELECT a FROM product) AS y ON true", "SELECT product"),
        ("UPDATE stock_level SET a = $1 FROM unnest($2)", "UPDATE stock_level"),
        ("BEGIN;", "BEGIN;"),
        ("", "statement"),
    ],
)
def test_a_statement_is_named_after_the_table_that_it_names_first(sql: str, summary: str) -> None:
    assert _summary(sql) == summary
