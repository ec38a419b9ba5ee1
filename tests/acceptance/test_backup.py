"""The commands of "Backup and restore" in docs/operations.md, as they stand there, on both kinds of database.

A shop sells, is backed up, goes on, loses its database, and is restored to a time in between.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import grpc
import pytest

from service.app.application import running
from service.cli.commands import database_commands
from service.database import migrate
from service.database.database import plain_url
from service.database.embedded.postgres import EmbeddedPostgres, temporary_postgres
from service.database.roles import SERVICE_ROLE, Roles
from service.settings import Settings
from tests.conftest import PLAIN_RULES, REPOSITORY, service_settings
from tests.retailer import Retailer, eventually, promised
from tests.service.database.test_database_tls import INSTALLED
from tests.service.test_faults import refusal
from tests.service.watch.test_watch_availability import AvailabilityClient, until, watching
from tests.service.watch.test_watch_orders import OrderClient, watch_request, watching_orders

pytestmark = [pytest.mark.database, pytest.mark.long]

GUIDE = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8").partition("\n## Backup and restore\n")[2]
NAMES, EMBEDDED, OWN, AFTER = re.split(r"\n### .*\n", GUIDE.partition("\n## ")[0])
PROGRAMS = Path(sys.executable).parent
REQUEST_IDS = {"A-1": str(uuid4()), "A-2": str(uuid4())}


def commands(section: str) -> list[str]:
    """The shell commands of a section, step by step."""
    return [re.sub(r"(?m)^   ", "", block) for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)]


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs commands of the guide with the names that it sets first, as an account, the own one if it is None."""

    backups: Path
    environment: dict[str, str]
    account: pwd.struct_passwd | None = None

    def run(self, block: str, **more: str) -> None:
        [names] = commands(NAMES)
        names = names.replace("BACKUPS=/srv/truestock-backups", f"BACKUPS={self.backups}")
        account = {} if self.account is None else {"user": self.account.pw_uid, "group": self.account.pw_gid}
        # A server that the commands start keeps its output open, so that a pipe would not end.
        with tempfile.TemporaryFile() as output:
            completed = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", f"{names}\n{block}"],
                env={"LC_ALL": "C"} | self.environment | more,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                **account,  # type: ignore[call-overload]
            )
            output.seek(0)
            assert completed.returncode == 0, f"{block}\n{output.read().decode()}"

    @property
    def base(self) -> str:
        """The base backup."""
        [base] = (path for path in self.backups.glob("base-*") if path.is_dir())
        return str(base)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's account reaches too."""
    folder = Path(tempfile.mkdtemp(prefix="backup-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@asynccontextmanager
async def selling(url: str, admin_url: str) -> AsyncIterator[Retailer]:
    """A service on the database, and its retailer."""
    settings = service_settings(admin_url, PLAIN_RULES).model_copy(update={"database_url": url})
    async with running(settings) as service, Retailer.connect(service, admin_url) as shop:
        yield shop


@dataclass(slots=True)
class Past:
    """What clients have of the time before the restore: watches from before and after `time`, and the audit's head."""

    early: AvailabilityClient
    early_orders: OrderClient
    late: AvailabilityClient
    late_orders: OrderClient
    time: str = ""
    head: str = ""


async def trade(shop: Retailer, back_up: Callable[[], None]) -> Past:
    """Sells before and after the time to which the database will be restored; a base backup is made before."""
    past = Past(AvailabilityClient(), OrderClient(), AvailabilityClient(), OrderClient())
    await shop.set_up()
    await shop.stock({("MUG", "dc"): 10})
    await asyncio.to_thread(back_up)
    await watch_one_order(shop, past.early, past.early_orders, "A-1", 9)
    past.time = str((await shop.sql("SELECT clock_timestamp()"))[0][0])
    await watch_one_order(shop, past.late, past.late_orders, "A-2", 8)
    await shop.count({("MUG", "dc"): 50})
    past.head = await sealed_head(shop)
    await archived(shop)
    return past


async def watch_one_order(
    shop: Retailer, availability: AvailabilityClient, orders: OrderClient, order_id: str, left: int
) -> None:
    async with watching(shop, into=availability), watching_orders(shop, into=orders):
        await availability.is_ready()
        await shop.allocate(order_id, {"MUG": 1}, request_id=REQUEST_IDS[order_id])
        await availability.receives(MUG=left)
        await orders.receives(order_id, "sold")
        heartbeats = availability.heartbeats, orders.heartbeats
        await until(lambda: availability.heartbeats > heartbeats[0] and orders.heartbeats > heartbeats[1])


async def sealed_head(shop: Retailer) -> str:
    """The head of the audit log once all events are sealed."""
    settings = Settings(database_url=shop.database_url)

    async def is_sealed() -> bool:
        return not (await asyncio.to_thread(database_commands.verify_audit, settings, [], "")).unsealed_count

    await eventually(is_sealed, 60)
    end = (await asyncio.to_thread(database_commands.verify_audit, settings, [], "")).end
    return f"{end.position}:{end.digest.hex()}"


async def archived(shop: Retailer) -> None:
    """Waits until the log up to now is archived; PostgreSQL does that within `archive_timeout` by itself."""
    [row] = await shop.sql("SELECT pg_walfile_name(pg_switch_wal()) AS name")

    async def is_archived() -> bool:
        return bool(await shop.sql("SELECT FROM pg_stat_archiver WHERE last_archived_wal >= $1", row["name"]))

    await eventually(is_archived, 60)


async def check_restored(shop: Retailer, past: Past) -> None:
    """The database is as of `past.time`, and the shop goes on selling."""
    orders = {row["order_id"]: row["id"] for row in await shop.sql("SELECT order_id, id FROM allocation")}
    assert set(orders) == {"A-1"}
    for row in await shop.sql("SELECT id FROM decision"):
        assert (await shop.replay(str(row["id"]))).identical
    assert sum(promised(await shop.allocate("A-3", {"MUG": 2})).values()) == 2
    again = [await shop.allocate(key, {"MUG": 1}, request_id=id) for key, id in REQUEST_IDS.items()]
    assert again[0].allocation_id == str(orders["A-1"])
    assert sum(promised(again[1]).values()) == 1

    past.early.received.clear()
    async with watching(shop, into=past.early, token=past.early.token):
        await past.early.receives(MUG=6)
    async with watching_orders(shop, token=past.early_orders.token) as resumed:
        await resumed.receives("A-3", "sold")
    past.late.versions.clear()
    async with watching(shop, into=past.late, token=past.late.token):
        await past.late.receives(MUG=6)
    refused = await refusal(shop.allocations.WatchOrders(watch_request(token=past.late_orders.token)).read())
    audit = await asyncio.to_thread(
        database_commands.verify_audit, Settings(database_url=shop.database_url), [], past.head
    )

    assert (past.early.starts_over_count, past.late.starts_over_count) == (0, 1)
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert audit.problem
    assert (await shop.ledger()).balanced


async def test_an_embedded_database_is_restored_to_a_time(folder: Path) -> None:
    backups, data, restored = (folder / name for name in ("backups", "data", "restored"))
    environment = {"PATH": f"{PROGRAMS}:{os.defpath}", "HOME": str(folder), "DATA": str(data)}
    shell = Shell(backups, environment)
    archive, back_up, restore = commands(EMBEDDED)

    with EmbeddedPostgres.start(data) as server:
        assert server.data_dir == data
        await migrate.migrate(server.database_url)
    backups.mkdir(mode=0o711)
    shell.run(archive)
    with EmbeddedPostgres.start(data) as server:
        async with selling(server.database_url, server.database_url) as shop:
            past = await trade(shop, lambda: shell.run(back_up))
    shell.run(restore, BASE=shell.base, TIME=past.time, RESTORED=str(restored))
    shutil.rmtree(data)
    with EmbeddedPostgres.start(restored) as server:
        async with selling(server.database_url, server.database_url) as shop:
            await check_restored(shop, past)


@dataclass(frozen=True, slots=True)
class OwnPostgres:
    """A server that Truestock did not start, with the URLs of its administrator and of services."""

    shell: Shell
    data: Path

    @contextmanager
    def until_it_is_lost(self) -> Iterator[None]:
        """Runs it for the block, then loses it with its data."""
        self.shell.run('pg_ctl start --wait --log="$PGDATA/log"')
        try:
            yield
        finally:
            self.stop()
            shutil.rmtree(self.data)

    def stop(self) -> None:
        self.shell.run("pg_ctl stop --wait --mode=immediate")

    def url(self, user: str) -> str:
        return f"postgresql://{user}@/truestock?host={self.data.parent}"


@pytest.fixture
def own(folder: Path) -> OwnPostgres:
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    data, backups = folder / "data", folder / "backups"
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
    environment = {
        "PATH": f"{INSTALLED[-1].parent}:{PROGRAMS}:{os.defpath}",
        "PGDATA": str(data),
        "PGHOST": str(folder),
        "PGUSER": "postgres",
        "HOME": str(folder),
    }
    shell = Shell(backups, environment, account)
    shell.run('initdb --username=postgres --auth=trust --no-sync -E UTF8 && mkdir -m 711 "$BACKUPS"')
    settings = f"listen_addresses = ''\nunix_socket_directories = '{folder}'\nfsync = off\n"
    with (data / "postgresql.conf").open("a") as file:
        file.write(settings)
    return OwnPostgres(shell, data)


@pytest.mark.skipif(not INSTALLED, reason="no PostgreSQL (Debian/Ubuntu: apt-get install postgresql)")
async def test_a_database_of_ones_own_is_restored_to_a_time_and_dumped_elsewhere(own: OwnPostgres) -> None:
    archive, back_up, restore, check, dump = commands(OWN)
    url, service_url = own.url("postgres"), own.url(SERVICE_ROLE)

    with own.until_it_is_lost():
        own.shell.run("createdb truestock")
        await migrate.migrate(url, Roles())
        own.shell.run(archive)
        async with selling(service_url, url) as shop:
            past = await trade(shop, lambda: own.shell.run(back_up))
    own.shell.run(restore, BASE=own.shell.base, TIME=past.time)
    try:
        Shell(own.shell.backups, own.shell.environment).run(check, DATABASE_URL=url)
        async with selling(service_url, url) as shop:
            await check_restored(shop, past)
        await check_roles(service_url)
        with temporary_postgres() as elsewhere:
            await restore_dump(own, dump, elsewhere.database_url, past)
    finally:
        own.stop()


async def check_roles(service_url: str) -> None:
    connection = await asyncpg.connect(plain_url(service_url))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM stock_movement")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DROP TABLE allocation")
    finally:
        await connection.close()


async def restore_dump(own: OwnPostgres, dump: str, empty_url: str, past: Past) -> None:
    """Restores a dump into another cluster, of another version: tokens from before the dump mean nothing there."""
    Shell(own.shell.backups, own.shell.environment).run(dump, DUMPED_URL=own.url("postgres"), EMPTY_URL=empty_url)
    async with selling(empty_url, empty_url) as shop:
        assert sum(promised(await shop.allocate("A-4", {"MUG": 2})).values()) == 2
        past.early.versions.clear()
        async with watching(shop, into=past.early, token=past.early.token):
            await past.early.receives(MUG=4)
        refused = await refusal(shop.allocations.WatchOrders(watch_request(token=past.early_orders.token)).read())

        assert past.early.starts_over_count == 1
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        assert (await shop.ledger()).balanced
