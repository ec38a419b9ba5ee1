"""Connects to the server that a URL asks for: of several hosts, the one that is the primary now.

`postgresql://shop@db1,db2/shop?target_session_attrs=read-write` names servers of which one at a time takes writes, as
in libpq. asyncpg would ask one after another, all within one time limit, and a machine that is switched off, which
answers nothing, would take all of it. Here the next one is asked as well if a host does not answer soon, and the one
that served last is asked first.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg

from service.settings import database_hosts

CONNECT_SECONDS = 10.0
HEAD_START_SECONDS = 0.5
"""How long a host has to answer before the next one is asked as well."""
DEAD_SECONDS = 8
"""After how long a connection ends whose other side no longer acknowledges anything, as a machine that lost power."""

Connection = Any
Opener = Callable[..., Awaitable[Connection]]

_CONDITIONS = {
    "any": None,
    "read-write": "current_setting('transaction_read_only') = 'off'",
    "read-only": "current_setting('transaction_read_only') = 'on'",
    "primary": "NOT pg_is_in_recovery()",
    "standby": "pg_is_in_recovery()",
}
_WITHOUT_TARGET = {True: "read-write", False: "any"}
"""What is asked of a server if the URL does not say, by whether it lists several."""
_PREFERRED = {"prefer-standby": ("standby", "any")}


class NoHost(ConnectionError):
    """No host of the URL can be used now; the message says of each why not."""


class _OtherServer(ConnectionError):
    """The server is not what the URL asks for."""


class Hosts:
    """The servers of one URL, which is in asyncpg's form."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._hosts = database_hosts(self._url)
        given = parse_qs(urlsplit(self._url).query).get("target_session_attrs")
        self.target = given[-1] if given else _WITHOUT_TARGET[bool(self._hosts)]

    @property
    def are_several(self) -> bool:
        """Whether the URL lists more than one."""
        return bool(self._hosts)

    def ask_last(self, connection: Connection) -> None:
        """Asks the host of a connection only if no other one is what the URL asks for."""
        self._hosts = sorted(self._hosts, key=lambda host: _is_of(connection._addr, *host))

    async def connect(self, opener: Opener = asyncpg.connect, **options: Any) -> Connection:
        """A connection to a server that is what the URL asks for; `opener` makes it with asyncpg's arguments.

        Raises what the opener raises, NoHost if there are several, and ConnectionError.
        """
        targets = _PREFERRED.get(self.target, (self.target,))
        for target in targets[:-1]:
            try:
                return await self._connect_to(target, opener, options)
            except OSError:
                continue
        return await self._connect_to(targets[-1], opener, options)

    async def _connect_to(self, target: str, opener: Opener, options: dict[str, Any]) -> Connection:
        if not self._hosts:
            return await self._opened(opener, target, options)
        attempts = [
            partial(self._opened, opener, target, {**options, "host": host, "port": port}) for host, port in self._hosts
        ]
        names = [f"{host}:{port}" for host, port in self._hosts]
        number, connection = await _first(attempts, names)
        # A new list: another task may be going through this one.
        self._hosts = [self._hosts[number], *self._hosts[:number], *self._hosts[number + 1 :]]
        return connection

    async def _opened(self, opener: Opener, target: str, options: dict[str, Any]) -> Connection:
        connection = await opener(self._url, **{"timeout": CONNECT_SECONDS, **options}, target_session_attrs="any")
        try:
            _end_when_dead(connection)
            await _check(connection, target)
        except BaseException:
            connection.terminate()
            raise
        return connection


def _is_of(address: tuple[str, int] | str, host: str, port: int) -> bool:
    """Whether a connection with this address, which of a socket is its path, is one to the host."""
    return address in {(host, port), f"{host}/.s.PGSQL.{port}"}


async def _check(connection: Connection, target: str) -> None:
    """Raises ConnectionError unless the server is what is asked for."""
    condition = _CONDITIONS[target]
    if condition is None:
        return
    # As text, such a statement is never prepared, so that a connection pooler may be in between.
    status: str = await connection.execute(f"SELECT WHERE {condition}", timeout=CONNECT_SECONDS)
    if status != "SELECT 1":
        raise _OtherServer(f"it is not what target_session_attrs={target} asks for")


async def _first(
    attempts: Sequence[Callable[[], Awaitable[Connection]]], names: Sequence[str]
) -> tuple[int, Connection]:
    """The connection that is there first, and the number of its attempt; each attempt has a head start over the next.

    Raises NoHost, or what a server refuses all of them for, such as a wrong password.
    """
    following = deque(enumerate(attempts))
    running: dict[asyncio.Future[Connection], int] = {}
    failures: dict[int, BaseException] = {}
    try:
        while following or running:
            if following:
                number, attempt = following.popleft()
                running[asyncio.ensure_future(attempt())] = number
            wait = HEAD_START_SECONDS if following else None
            ended, _ = await asyncio.wait(running, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                error = task.exception()
                if error is None:
                    return running.pop(task), task.result()
                failures[running.pop(task)] = error
    finally:
        for task in running:
            task.add_done_callback(_give_up)
            task.cancel()
    raise _failure(failures, names)


def _give_up(task: asyncio.Future[Connection]) -> None:
    """Ends the connection of an attempt that came second."""
    if not task.cancelled() and task.exception() is None:
        task.result().terminate()


def _failure(failures: dict[int, BaseException], names: Sequence[str]) -> BaseException:
    for error in failures.values():
        is_away = isinstance(error, (OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError))
        if not is_away:
            return error
    reasons = (f"{names[number]}: {str(failures[number]) or 'no answer in time'}" for number in sorted(failures))
    return NoHost(f"none of {len(names)} hosts can be used now ({'; '.join(reasons)})")


def _end_when_dead(connection: Connection) -> None:
    """Lets the system end the connection once the other machine is gone; statements would wait for it in vain."""
    end = connection._transport.get_extra_info("socket")
    if end is None or end.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Linux and macOS call them differently.
    for name, value in {
        "TCP_KEEPIDLE": DEAD_SECONDS // 2,
        "TCP_KEEPALIVE": DEAD_SECONDS // 2,
        "TCP_KEEPINTVL": 1,
        "TCP_KEEPCNT": DEAD_SECONDS // 2,
        "TCP_USER_TIMEOUT": DEAD_SECONDS * 1_000,
    }.items():
        option = getattr(socket, name, None)
        if option is not None:
            end.setsockopt(socket.IPPROTO_TCP, option, value)
