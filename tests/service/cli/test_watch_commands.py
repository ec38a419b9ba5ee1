"""`truestock watch`: a line for each change until Ctrl-C, also through a restart of the service."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.cli import resuming_stream
from service.cli.client import connect
from service.cli.console import UserError
from tests.conftest import REPOSITORY, RetailerMaker
from tests.retailer import Retailer
from truestock.v1.availability_service_pb2 import WatchAvailabilityRequest


@asynccontextmanager
async def command(shop: Retailer, *arguments: str) -> AsyncIterator[Process]:
    """`truestock watch …` while the block lasts."""
    program = (sys.executable, "-m", "service", "watch", *arguments, "--server", shop.service.address)
    process = await asyncio.create_subprocess_exec(*program, stdout=PIPE, stderr=PIPE, cwd=REPOSITORY)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 20)).decode()


async def test_availability_is_printed_as_it_changes_until_ctrl_c(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 10})
    async with command(retailer, "availability", "--channel", "web") as process:
        first = await line(process)
        await retailer.allocate("A-1", {"MUG": 3})
        second = await line(process)
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), 10)

    assert "MUG" in first
    assert " 10 sellable" in first
    assert " 7 sellable" in second
    assert process.returncode == 130


async def test_orders_are_printed_as_lines_of_json(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 10})
    async with command(retailer, "orders", "--channel", "web", "--json") as process:
        # The watch prints only changes after its start, so orders are placed until one is printed.
        first = asyncio.create_task(line(process))
        for number in range(60):
            await retailer.allocate(f"A-{number}", {"MUG": 1})
            if (await asyncio.wait([first], timeout=0.3))[0]:
                break
        change = json.loads(await first)

    assert change["allocation"]["channel_id"] == "web"
    assert [event["event"] for event in change["events"]] == ["sold"]


async def test_a_watch_resumes_after_a_restart_of_the_service(
    retailers: RetailerMaker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resuming_stream, "FIRST_PAUSE_SECONDS", 0.05)
    first = await retailers.make()
    await first.stock({("MUG", "dc"): 10})
    address = first.service.address
    async with connect(address) as client:
        request = WatchAvailabilityRequest(channel_id="web")

        def start(token: str) -> object:
            request.resume_token = token
            return client.availability.WatchAvailability(request)

        stream = resuming_stream.messages(client, start)
        async for message in stream:
            if message.resume_token:
                break
        await retailers.stop(first)
        second = await retailers.make(address=address)
        await second.count({("MUG", "dc"): 4})
        async for message in stream:
            if any(change.sellable_count == 4 for change in message.changes):
                break
        await stream.aclose()

    assert "The watch was interrupted: the service is stopping" in capsys.readouterr().err


async def test_a_watch_of_an_unknown_channel_ends_with_the_reason(retailer: Retailer) -> None:
    async with connect(retailer.service.address) as client:
        request = WatchAvailabilityRequest(channel_id="nowhere")
        with pytest.raises(UserError, match="no channel 'nowhere'"):
            await anext(resuming_stream.messages(client, lambda _: client.availability.WatchAvailability(request)))
