"""TLS to a real PostgreSQL, as the URL asks for it; the embedded one has no TLS, because it has no TCP port."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGQUIT

import asyncpg
import pytest
import trustme

from service.app.application import running
from service.app.listening import StartError
from service.cli.commands import database_commands
from service.cli.console import UserError
from service.database.scram import verifier
from service.settings import Settings
from tests.conftest import PLAIN_RULES, service_settings
from tests.postgres_servers import IS_REQUIRED
from tests.retailer import Retailer, promised

INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres")) or sorted(
    Path("/opt/homebrew/opt").glob("postgresql@*/bin/postgres")
)
PASSWORD = "of the database"

pytestmark = [
    pytest.mark.database,
    pytest.mark.long,
    pytest.mark.skipif(
        not INSTALLED and not IS_REQUIRED, reason="no PostgreSQL with TLS (Debian/Ubuntu: apt-get install postgresql)"
    ),
]


@dataclass(frozen=True, slots=True)
class TlsPostgres:
    """A PostgreSQL that only accepts TLS, with the files of those who trust it, and those of a client."""

    port: int
    authority: Path
    other_authority: Path
    client_cert: Path
    client_key: Path

    def url(self, options: str, *, user: str = "shop:of%20the%20database", host: str = "localhost") -> str:
        return f"postgresql://{user}@{host}:{self.port}/shop?{options}"


@pytest.fixture(scope="module")
def server() -> Iterator[TlsPostgres]:
    folder = Path(tempfile.mkdtemp(prefix="tls-postgres-", dir="/tmp"))
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    os.chown(folder, account.pw_uid, account.pw_gid)
    try:
        files = _write_certificates(folder, account)
        yield from _running(folder, account, files)
    finally:
        shutil.rmtree(folder)


def _write_certificates(folder: Path, account: pwd.struct_passwd) -> dict[str, Path]:
    authority, other, clients = trustme.CA(), trustme.CA(), trustme.CA()
    certificate, client = authority.issue_cert("localhost"), clients.issue_cert("shop.example", common_name="till")
    contents = {
        "authority": authority.cert_pem,
        "other_authority": other.cert_pem,
        "client_authority": clients.cert_pem,
        "cert": certificate.cert_chain_pems[0],
        "key": certificate.private_key_pem,
        "client_cert": client.cert_chain_pems[0],
        "client_key": client.private_key_pem,
    }
    files = {name: folder / f"{name}.pem" for name in contents}
    for name, path in files.items():
        path.touch(0o600)
        path.write_bytes(contents[name].bytes())
        os.chown(path, account.pw_uid, account.pw_gid)
    return files


def _running(folder: Path, account: pwd.struct_passwd, files: dict[str, Path]) -> Iterator[TlsPostgres]:
    data, programs = folder / "data", INSTALLED[-1].parent
    as_account = {"user": account.pw_uid, "group": account.pw_gid, "cwd": folder} if os.geteuid() == 0 else {}
    initdb = [programs / "initdb", "-D", data, "-U", "postgres", "--auth=reject", "--no-sync", "-E", "UTF8"]
    subprocess.run(initdb, check=True, capture_output=True, **as_account)  # type: ignore[call-overload]
    roles = f"CREATE ROLE shop SUPERUSER LOGIN PASSWORD '{verifier(PASSWORD)}'\nCREATE ROLE till SUPERUSER LOGIN\n"
    subprocess.run(
        [programs / "postgres", "--single", "-D", data, "postgres"],
        input=(roles + "CREATE DATABASE shop\n").encode(),
        check=True,
        capture_output=True,
        **as_account,  # type: ignore[call-overload]
    )
    (data / "pg_hba.conf").write_text("hostssl all till all cert\nhostssl all shop all scram-sha-256\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "listen_addresses": "localhost",
        "port": port,
        "unix_socket_directories": "",
        "fsync": "off",
        "ssl": "on",
        "ssl_cert_file": files["cert"],
        "ssl_key_file": files["key"],
        "ssl_ca_file": files["client_authority"],
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with subprocess.Popen(
        [programs / "postgres", "-D", data, *options],
        stderr=subprocess.DEVNULL,
        **as_account,  # type: ignore[call-overload]
    ) as process:
        try:
            _wait_until_it_listens(port, process)
            yield TlsPostgres(
                port, files["authority"], files["other_authority"], files["client_cert"], files["client_key"]
            )
        finally:
            process.send_signal(SIGQUIT)


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as attempt:
            if attempt.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("PostgreSQL did not start")


async def test_a_service_sells_by_tls_with_a_verified_server(server: TlsPostgres) -> None:
    url = server.url(f"sslmode=verify-full&sslrootcert={server.authority}")
    await asyncio.to_thread(database_commands.migrate_database, Settings(database_url=url))

    async with running(service_settings(url, PLAIN_RULES)) as service, Retailer.connect(service, url) as shop:
        await shop.set_up()
        await shop.stock({("MUG", "dc"): 5})
        order = await shop.allocate("A-1", {"MUG": 2})
        plain = await shop.sql(
            "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'shop' AND NOT ssl"
        )
    ledger = await asyncio.to_thread(database_commands.verify_ledger, Settings(database_url=url))

    assert sum(promised(order).values()) == 2
    assert plain[0]["count"] == 0
    assert ledger.balanced


async def test_a_client_certificate_takes_the_place_of_a_password(server: TlsPostgres) -> None:
    files = f"sslrootcert={server.authority}&sslcert={server.client_cert}&sslkey={server.client_key}"
    url = server.url(f"sslmode=verify-full&{files}", user="till")

    await asyncio.to_thread(database_commands.migrate_database, Settings(database_url=url))


@pytest.mark.parametrize(
    ("options", "host", "message"),
    [
        ("sslmode=verify-full&sslrootcert={other}", "localhost", "certificate verify failed"),
        ("sslmode=verify-ca&sslrootcert={other}", "localhost", "certificate verify failed"),
        ("sslmode=verify-full&sslrootcert={own}", "127.0.0.1", "IP address mismatch"),
        ("sslmode=disable", "localhost", "no encryption"),
    ],
)
async def test_a_server_that_is_not_the_expected_one_gets_neither_password_nor_data(
    server: TlsPostgres, options: str, host: str, message: str
) -> None:
    url = server.url(options.format(own=server.authority, other=server.other_authority), host=host)
    with pytest.raises(StartError, match=message):
        async with running(service_settings(url, PLAIN_RULES)):
            pass
    for command in (database_commands.migrate_database, database_commands.verify_ledger):
        with pytest.raises(UserError, match=message):
            await asyncio.to_thread(command, Settings(database_url=url))


async def test_tls_is_used_where_the_url_does_not_say(server: TlsPostgres) -> None:
    connection = await asyncpg.connect(server.url("application_name=test"))

    assert await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    await connection.close()
