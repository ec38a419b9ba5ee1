"""One line for each call, with its ids and the slow part named, and no more lines than the settings allow."""

from __future__ import annotations

import io
import json
import sys

import pytest
import structlog
from structlog.testing import capture_logs

from service.observability.call_log import CallLog
from service.observability.calls import Call
from service.observability.log_output import configure_logs
from truestock.v1 import allocation_service_pb2 as allocation_pb

METHOD = "AllocationService/AllocateOrder"
REQUEST_ID, ALLOCATION_ID, DECISION_ID = (f"01890a5d-ac96-774b-bcce-b3020{n}9a8057" for n in range(3))


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 50.0

    def __call__(self) -> float:
        return self.seconds


def end(
    log: CallLog, *, code: str = "OK", seconds: float = 0.01, call: Call | None = None, request_id: str = ""
) -> None:
    request = allocation_pb.AllocateOrderRequest(request_id=request_id, order_id="Erika Mustermann")
    response = allocation_pb.AllocateOrderResponse()
    response.allocation.allocation_id = ALLOCATION_ID
    response.allocation.decision.decision_id = DECISION_ID
    log.ended(METHOD, code, seconds, call or Call(), (request, response))


def test_a_call_is_one_line_with_the_ids_by_which_it_can_be_found() -> None:
    with capture_logs() as lines:
        end(CallLog(10, 1.0), request_id=REQUEST_ID.upper())

    assert lines == [
        {
            "event": "call",
            "log_level": "info",
            "method": METHOD,
            "code": "OK",
            "milliseconds": 10.0,
            "request_id": REQUEST_ID,
            "allocation_id": ALLOCATION_ID,
            "decision_id": DECISION_ID,
        }
    ]


def test_a_request_id_that_is_no_uuid_is_not_logged() -> None:
    with capture_logs() as lines:
        end(CallLog(10, 1.0), request_id="Erika Mustermann")

    assert "request_id" not in lines[0]


def test_a_slow_call_names_the_part_that_took_longest() -> None:
    call = Call()
    call.queue, call.connection, call.database, call.decision = 0.1, 0.02, 1.2, 0.3

    with capture_logs() as lines:
        end(CallLog(10, 1.0), seconds=2.0, call=call)

    assert (lines[0]["event"], lines[0]["log_level"], lines[0]["slow_part"]) == ("slow call", "warning", "database")
    parts = ("queue", "connection", "database", "decision", "other")
    assert [lines[0][f"{part}_milliseconds"] for part in parts] == [100, 20, 1200, 300, 380]


def test_above_the_rate_calls_are_sampled_and_the_next_line_says_how_many_had_none() -> None:
    clock = Clock()
    log = CallLog(10, 1.0, clock)

    with capture_logs() as lines:
        for _ in range(1_000):
            end(log)
            clock.seconds += 0.01

    # Those of the first second at once, then ten a second of a hundred.
    assert 100 <= len(lines) <= 112
    assert lines[-1]["calls_without_line"] == 9
    assert sum(line.get("calls_without_line", 0) for line in lines) + len(lines) in range(991, 1_001)


def test_a_flood_of_ordinary_calls_hides_no_slow_or_failed_one() -> None:
    log = CallLog(2, 1.0, Clock())

    with capture_logs() as lines:
        for _ in range(100):
            end(log)
            end(log, code="INVALID_ARGUMENT")
        end(log, seconds=3)
        end(log, code="INTERNAL")

    assert [line["event"] for line in lines] == ["call", "call", "slow call", "call failed"]


def test_the_lines_of_calls_can_be_turned_off() -> None:
    with capture_logs() as lines:
        end(CallLog(0, 1.0), seconds=3)

    assert lines == []


@pytest.mark.parametrize(
    ("log_format", "is_terminal", "is_json"),
    [
        ("auto", False, True),
        ("auto", True, False),
        ("json", True, True),
        ("logfmt", False, False),
    ],
)
def test_logs_are_json_unless_a_person_reads_them(
    monkeypatch: pytest.MonkeyPatch, log_format: str, is_terminal: bool, is_json: bool
) -> None:
    output = io.StringIO()
    monkeypatch.setattr(output, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stderr", output)
    settings = structlog.get_config()
    try:
        configure_logs(log_format)  # type: ignore[arg-type]
        structlog.get_logger("test").info("rules loaded", files=3)
    finally:
        structlog.configure(**settings)

    text = output.getvalue()
    if is_json:
        assert json.loads(text) | {"timestamp": ""} == {
            "event": "rules loaded",
            "files": 3,
            "level": "info",
            "timestamp": "",
        }
    else:
        assert text.endswith('level=info event="rules loaded" files=3\n')
