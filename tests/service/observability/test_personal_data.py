"""Names, streets, phones and mail addresses in any field of any call: none is in the log, a metric or a trace.

The database holds them only in columns that the data map of SECURITY.md names.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, redirect_stderr
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import generate_latest

from service.app.application import running
from service.observability.log_output import configure_logs
from tests.collector import Collector, running_collector
from tests.conftest import PLAIN_RULES, service_settings
from tests.data_map import personal_columns
from tests.database_dump import holding as holding_any, values_of
from tests.retailer import Retailer, change
from tests.service.rpc.test_request_bytes import METHODS, bytes_channel
from truestock.v1 import exception_pb2, exception_service_pb2 as exception_pb, stock_service_pb2 as stock_pb

PERSONAL = ("Erika Mustermann", "5 Musterstrasse", "+49 170 5550123", "erika.mustermann@example.com")
SECRET = "ts-Zm9yZ2V0LW1lLW5vdy4uLg"
"""A token that callers send though the service asks for none."""
TRACES = ("Erika", "Mustermann", "Musterstrasse", "5550123", "example.com", SECRET)
"""What must be nowhere, in any spelling of the texts above."""
MEASUREMENTS = re.compile(r"\b\w*(?:time_unix_nano|trace_id|span_id): .*|\b\d+\.\d+(?:e[+-]?\d+)?\b")
OWN_METHODS = [method for method in METHODS if method.full_name.startswith("truestock.")]
SLOW = {"TestPolicies", "StreamTestPolicies"}
"""Methods that start a process: only the long test calls them."""
DEEPEST = 6
"""Messages inside messages that are filled."""
KNOWN = {
    "sku": "MUG",
    "skus": "MUG",
    "channel_id": "web",
    "location_id": "dc",
    "location_ids": "dc",
    "only_location_ids": "dc",
    "order_id": "A-1",
    "country_code": "US",
    "currency_code": "USD",
    "region_code": "US",
    "time_zone": "UTC",
    "page_token": "",
}
"""Texts of fields with which a call gets far."""


@dataclass
class Observed:
    """What operators see of the calls, and the codes with which these ended."""

    log: str
    metrics: str
    traces: str
    holding: set[tuple[str, str]]
    """The tables and columns of the database that hold any of it."""
    codes: Counter[tuple[str, str]]


class Filler:
    """Fills messages of any type: texts with personal data, or with what a valid call has in such a field."""

    def __init__(self, allocation_id: str, shipment_id: str) -> None:
        self._personal = cycle(PERSONAL)
        self._known = KNOWN | {"allocation_id": allocation_id, "shipment_id": shipment_id}

    def filled(self, type: Descriptor, personal: frozenset[str] | None = None) -> Message:
        """A message with personal data in the fields of these names, in all of them if it is None."""
        message = GetMessageClass(type)()
        self._fill(message, personal, DEEPEST)
        return message

    def _fill(self, message: Message, personal: frozenset[str] | None, depth: int) -> None:
        if isinstance(message, Timestamp):
            message.GetCurrentTime()
            return
        chosen: set[str] = set()
        for field in message.DESCRIPTOR.fields:
            if field.containing_oneof is not None and not _is_optional(field):
                if field.containing_oneof.name in chosen:
                    continue
                chosen.add(field.containing_oneof.name)
            if field.message_type is not None:
                if depth:
                    self._fill_message(message, field, personal, depth - 1)
            elif field.is_repeated:
                getattr(message, field.name).append(self._value(field, personal))
            else:
                setattr(message, field.name, self._value(field, personal))

    def _fill_message(self, message: Message, field: Any, personal: frozenset[str] | None, depth: int) -> None:
        assert field.message_type is not None
        if field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            if value.message_type is None:
                getattr(message, field.name)[next(self._personal)] = self._value(value, personal)
        elif field.is_repeated:
            self._fill(getattr(message, field.name).add(), personal, depth)
        else:
            getattr(message, field.name).SetInParent()
            self._fill(getattr(message, field.name), personal, depth)

    def _value(self, field: Any, personal: frozenset[str] | None) -> Any:
        if field.type == FieldDescriptor.TYPE_STRING:
            if personal is None or field.name in personal:
                return next(self._personal)
            return self._known.get(field.name) or (str(uuid.uuid4()) if field.name.endswith("request_id") else "")
        if field.type == FieldDescriptor.TYPE_BYTES:
            return next(self._personal).encode() if personal is None or field.name in personal else b""
        if field.enum_type is not None:
            return field.enum_type.values[min(1, len(field.enum_type.values) - 1)].number
        return False if field.type == FieldDescriptor.TYPE_BOOL else 1


def _is_optional(field: Any) -> bool:
    """Whether its oneof is only how `optional` is written."""
    assert field.containing_oneof is not None
    return bool(field.containing_oneof.name == f"_{field.name}")


def text_fields(type: Descriptor, seen: frozenset[str] = frozenset()) -> set[str]:
    """The names of all text fields of a message and of those in it."""
    names: set[str] = set()
    for field in type.fields:
        if field.type in {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}:
            names.add(field.name)
        elif field.message_type is not None and field.message_type.full_name not in seen:
            names |= text_fields(field.message_type, seen | {field.message_type.full_name})
    return names


def requests(filler: Filler, method: MethodDescriptor, *, each_field: bool) -> Iterator[bytes]:
    """Requests with personal data in all texts, in all but those that lead to a record, and in each one by itself."""
    names = text_fields(method.input_type)
    ids = {"request_id", "allocation_id", "shipment_id", "exception_id", "decision_id", "transfer_id"}
    choices: list[frozenset[str] | None] = [None, frozenset(names - KNOWN.keys() - ids)]
    if "order_id" in names:
        choices.append(frozenset({"order_id"}))
    if each_field:
        choices += [frozenset({name}) for name in sorted(names)]
    for personal in choices:
        yield filler.filled(method.input_type, personal).SerializeToString()


async def call(channel: Any, method: MethodDescriptor, content: bytes) -> str:
    """The code of a call; of a stream, once it has responded or is silent for a moment."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    metadata = [
        ("authorization", f"Bearer {SECRET}"),
        ("tracestate", f"shopper={PERSONAL[0]}"),
        ("baggage", f"shopper={PERSONAL[3]}"),
    ]
    try:
        if not (method.server_streaming or method.client_streaming):
            await channel.unary_unary(path)(content, timeout=30, metadata=metadata)
        elif method.server_streaming:
            stream = channel.stream_stream(path)(iter([content])) if method.client_streaming else None
            stream = stream or channel.unary_stream(path)(content, metadata=metadata)
            try:
                await asyncio.wait_for(stream.read(), 0.1)
            except TimeoutError:
                stream.cancel()
        else:
            await channel.stream_unary(path)(iter([content]), timeout=30)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


@asynccontextmanager
async def log_of_a_service(output: io.StringIO) -> AsyncIterator[None]:
    """The log as `truestock serve` writes it into a pipe."""
    settings = structlog.get_config()
    with redirect_stderr(output):
        configure_logs()
        try:
            yield
        finally:
            structlog.configure(**settings)


async def live(shop: Retailer) -> None:
    """Orders, counts, cancellations and exceptions whose free texts are personal data; every call succeeds."""
    for text in PERSONAL:
        await shop.record(change("MUG", "dc", count=stock_pb.StockCount(on_hand_count=500)), source=text)
        await shop.record(change(text, "dc", count=stock_pb.StockCount(on_hand_count=5)), source=text)
        order = await shop.allocate(text, {"MUG": 2})
        await shop.cancel(order.allocation_id, {order.lines[0].line_id: 1})
        await shop.allocate(f"{text} again", {"MUG": 100_000})
        for record in await shop.open_exceptions():
            if record.assignee:
                continue
            ids = {"exception_id": record.exception_id, "actor": text}
            await shop.exceptions.AssignException(exception_pb.AssignExceptionRequest(**ids, assignee=text, owner=text))
            if record.kind == "oversell":
                cancelled = exception_pb2.EXCEPTION_RESOLUTION_CANCELLED
                await shop.resolve(record.exception_id, cancelled, actor=text, note=text)


async def observed(database_url: str, collector: Collector, *, each_field: bool = False) -> Observed:
    """What operators see of calls of every method."""
    settings = service_settings(database_url, PLAIN_RULES).model_copy(
        update={
            "log_calls_per_second": 10_000.0,
            "otel_endpoint": collector.endpoint,
            "otel_sample_ratio": 1.0,
            "verify_ledger_seconds": 0.0,
        }
    )
    codes: Counter[tuple[str, str]] = Counter()
    log = io.StringIO()
    async with (
        log_of_a_service(log),
        running(settings) as service,
        Retailer.connect(service, database_url) as shop,
    ):
        await shop.set_up()
        await shop.stock({("MUG", "dc"): 500})
        order = await shop.allocate("A-1", {"MUG": 1})
        await live(shop)
        filler = Filler(order.allocation_id, order.shipments[0].shipment_id)
        async with bytes_channel(shop) as channel:
            for method in OWN_METHODS:
                if method.name in SLOW and not each_field:
                    continue
                for content in requests(filler, method, each_field=each_field):
                    codes[method.name, await call(channel, method, content)] += 1
        metrics = generate_latest(service.metrics.registry).decode()
        holding = holding_any(await values_of(shop), *(name.encode() for name in TRACES))
    traces = "".join(str(span) for span in collector.spans)
    return Observed(log.getvalue(), metrics, traces, holding, codes)


def without_measurements(text: str) -> str:
    """The text without times, ids of traces and decimal numbers: some of their digits are those of any phone number."""
    return MEASUREMENTS.sub("", text)


def check(seen: Observed) -> None:
    """Checks that no personal data is anywhere, and that the calls were there to leave it."""
    for name in TRACES:
        for text in (seen.log, seen.metrics, seen.traces):
            assert [line for line in without_measurements(text).splitlines() if name.lower() in line.lower()] == []
    assert seen.holding - personal_columns() == set()
    assert seen.holding >= {("exception", "note"), ("exception_event", "actor"), ("request", "answer")}
    assert {method for method, _ in seen.codes} >= {method.name for method in OWN_METHODS} - SLOW
    lines = [json.loads(line) for line in seen.log.splitlines()]
    logged = {line["method"].partition("/")[2] for line in lines if "method" in line}
    assert logged >= {"AllocateOrder", "UpsertProducts"}
    # Many of them were valid, and so got as far as a call can.
    assert len({method for method, code in seen.codes if code == "OK"}) >= len(OWN_METHODS) / 3
    assert not [key for key in seen.codes if key[1] in {"INTERNAL", "UNKNOWN"}]
    assert "AllocationService/AllocateOrder" in seen.traces


async def test_no_personal_data_of_any_call_is_in_the_log_a_metric_or_a_trace(
    database_url: str, collector: Collector
) -> None:
    check(await observed(database_url, collector))


@pytest.mark.long
async def test_nor_is_it_where_each_field_alone_has_it(database_url: str, collector: Collector) -> None:
    check(await observed(database_url, collector, each_field=True))
