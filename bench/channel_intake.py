"""Webhooks that the connectors take per second, with no service to ask, beside a bare route with one insert."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import numpy as np

from bench.bench_report import Ratio, Report, ratio
from bench.intake_deliveries import ACCOUNT, next_delivery
from bench.rounds import Figures, Pace, WrongAnswer, run_in_turns
from bench.server_process import running_module
from service.channels.store.schema import SCHEMA
from service.database.database import single_connection

NAME = "channels"
PACE = Pace(rounds=5, seconds=4.0)
SENDERS = 32
INTAKE, BARE = "intake", "bare insert"
LONGEST_ACK_MS = 1_000.0


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Deliveries per second and how long they wait for their answer. Raises WrongAnswer."""
    plain = url.replace("postgresql+asyncpg://", "postgresql://", 1)
    async with running_module("bench.intake_server", plain) as server:
        variants = {
            INTAKE: partial(_send, server.address, f"/webhooks/{ACCOUNT}"),
            BARE: partial(_send, server.address, "/bare"),
        }
        figures = await run_in_turns(variants, pace)
    stored = await _stored(url)
    if stored < sum(each["deliveries"] for each in figures[INTAKE]):
        raise WrongAnswer(f"only {stored} deliveries are stored, though more were answered with 200")
    waits = tuple(each["ack_p99_ms"] for each in figures[INTAKE])
    return Report(
        name=NAME,
        pace=pace,
        variants=figures,
        ratios=[
            ratio("intake_vs_bare_insert", figures[INTAKE], figures[BARE], "deliveries_per_second", at_least=0.8),
            Ratio("ack_p99_ms", waits, at_most=LONGEST_ACK_MS),
        ],
        settings={"senders": SENDERS},
        verified=f"all of {stored:,} deliveries that were answered with 200 are stored",
    )


async def _send(address: str, path: str, seconds: float) -> Figures:
    end = time.monotonic() + seconds
    waits = await asyncio.gather(*(_sender(address, path, end) for _ in range(SENDERS)))
    milliseconds = np.concatenate([np.asarray(each) for each in waits]) * 1_000
    return {
        "deliveries": float(len(milliseconds)),
        "deliveries_per_second": len(milliseconds) / seconds,
        "ack_p99_ms": float(np.percentile(milliseconds, 99)),
    }


async def _sender(address: str, path: str, end: float) -> list[float]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    waits: list[float] = []
    try:
        while (start := time.monotonic()) < end or not waits:
            writer.write(next_delivery(path))
            await _accepted(reader)
            waits.append(time.monotonic() - start)
    finally:
        writer.close()
    return waits


async def _accepted(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise WrongAnswer(f"a delivery was answered with {head[:40]!r}")
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    await reader.readexactly(int(length))


async def _stored(url: str) -> int:
    async with single_connection(url) as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {SCHEMA}.deliveries"))
