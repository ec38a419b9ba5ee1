"""A Lua script in Redis that takes a unit and notes the order, with every write on disk before it is answered.

It stores two facts: how many units are available, and which order took one. `appendfsync always` makes them as durable
as a commit of PostgreSQL; Redis writes them once for all callers of one turn of its loop. There are no locations,
shipments or movements, and nothing is decided.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.baselines.baseline import SKU, TOTAL_UNITS, compare
from bench.module_process import end_process
from bench.rounds import WrongAnswer

PROGRAM = "redis-server"
READY = b"eady to accept connections"
_TAKE = """
local left = tonumber(redis.call('GET', KEYS[1]))
if left < tonumber(ARGV[2]) then return 0 end
redis.call('DECRBY', KEYS[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 1
"""


class RedisConnection:
    """One connection, which sends a command and reads its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def execute(self, *words: str) -> bytes:
        """The answer to a command: the text of a string or a number. Raises WrongAnswer for an error."""
        parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        self._writer.write(f"*{len(words)}\r\n{''.join(parts)}".encode())
        line = (await self._reader.readuntil(b"\r\n"))[:-2]
        if line[:1] == b"-":
            raise WrongAnswer(f"Redis: {line[1:].decode()}")
        if line[:1] == b"$":
            return (await self._reader.readexactly(int(line[1:]) + 2))[:-2]
        return line[1:]

    async def close(self) -> None:
        """Closes the connection."""
        self._writer.close()
        await self._writer.wait_closed()


class RedisLua:
    """Sells by the script."""

    def __init__(self, connections: list[RedisConnection], script: str, pid: int) -> None:
        self._free: asyncio.Queue[RedisConnection] = asyncio.Queue()
        for connection in connections:
            self._free.put_nowait(connection)
        self._script = script
        self.pid = pid

    async def allocate(self, order_id: str) -> None:
        """Sells one unit."""
        if await self._execute("EVALSHA", self._script, "2", SKU, "orders", order_id, "1") != b"1":
            raise WrongAnswer("an order for which stock exists was not allocated")

    async def verify(self, order_count: int) -> None:
        """Compares the answered orders with both keys."""
        left = int(await self._execute("GET", SKU))
        counts = {"orders": int(await self._execute("HLEN", "orders")), "units sold": TOTAL_UNITS - left}
        compare("redis_lua", order_count, counts, left)

    async def _execute(self, *words: str) -> bytes:
        connection = await self._free.get()
        try:
            return await connection.execute(*words)
        finally:
            self._free.put_nowait(connection)


def is_installed() -> bool:
    """Whether Redis can be started here."""
    return shutil.which(PROGRAM) is not None


@asynccontextmanager
async def redis_lua(connection_count: int) -> AsyncIterator[RedisLua]:
    """The baseline on a Redis of its own, whose data are deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="truestock-redis-") as folder:
        socket = str(Path(folder) / "redis.sock")
        process = _start(folder, socket)
        assert process.stdout is not None
        try:
            while READY not in (line := await asyncio.to_thread(process.stdout.readline)):
                if not line:
                    raise WrongAnswer(f"{PROGRAM} ended with {await asyncio.to_thread(process.wait)}")
            connections = [
                RedisConnection(*await asyncio.open_unix_connection(socket)) for _ in range(connection_count)
            ]
            await connections[0].execute("SET", SKU, str(TOTAL_UNITS))
            script = await connections[0].execute("SCRIPT", "LOAD", _TAKE)
            yield RedisLua(connections, script.decode(), process.pid)
            for connection in connections:
                await connection.close()
        finally:
            end_process(process)


def _start(folder: str, socket: str) -> subprocess.Popen[bytes]:
    durable = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
    return subprocess.Popen(
        [PROGRAM, "--port", "0", "--unixsocket", socket, "--dir", folder, *durable], stdout=subprocess.PIPE
    )
