"""What a person would find in Truestock of a channel's orders, and where a shopper's data must not be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import grpc

from tests.acceptance.channels.connector_processes import Processes
from tests.connector_site import until
from truestock.v1 import allocation_service_pb2 as allocation_pb


async def order(running: Processes, key: str) -> Any:
    """The order `channel/order` with its timeline; None while Truestock does not know it."""
    try:
        return await running.retailer.find_order(key)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return None


async def found(
    running: Processes, key: str, fits: Callable[[allocation_pb.Allocation], bool]
) -> allocation_pb.Allocation:
    """The order once it fits."""

    async def fitting() -> Any:
        answer = await order(running, key)
        return answer.allocation if answer is not None and fits(answer.allocation) else None

    allocation: allocation_pb.Allocation = await until(fitting, f"order {key}")
    return allocation


async def reaches(running: Processes, key: str, status: int) -> allocation_pb.Allocation:
    """The order once it has this status."""
    return await found(running, key, lambda allocation: allocation.status == status)


async def asks(running: Processes, key: str, state: int) -> allocation_pb.Allocation:
    """The order once the shopper's request to cancel it has this state."""
    return await found(running, key, lambda allocation: allocation.cancellation_request.state == state)


async def has(running: Processes, sku: str, location_id: str, on_hand: int) -> None:
    """Waits until the location has so many units on hand."""

    async def reached() -> bool:
        return (await running.retailer.level(sku, location_id)).on_hand_count == on_hand

    await until(reached, f"{on_hand} units of {sku} in {location_id}")


async def nothing_waits(running: Processes) -> None:
    """Waits until the inbox is empty, as a person is told."""

    async def nothing() -> bool:
        return not await asyncio.to_thread(running.json, "inbox", "--state", "waiting")

    await until(nothing, "an empty inbox")


async def everything_in(database_url: str) -> str:
    """All rows of all tables, as text."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        rows = [
            str(row[0]) for table in tables for row in await connection.fetch(f"SELECT t::text FROM {table['name']} t")
        ]
        return "\n".join(rows)
    finally:
        await connection.close()


async def page(address: str) -> str:
    """The metrics at HOST:PORT."""
    reader, writer = await asyncio.open_connection(*address.rsplit(":", 1))
    writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return text
