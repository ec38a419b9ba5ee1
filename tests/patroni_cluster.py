"""PostgreSQL on three nodes under Patroni and etcd, on loopback and with the files of `deploy/ha`; tests kill parts."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from service.database.embedded.location import Account, command_of
from tests.postgres_servers import IS_REQUIRED, POSTGRES, free_port, server_folder
from tests.waiting import wait_until

FILES = Path(__file__).parent.parent / "deploy" / "ha"
PATRONI, ETCD = shutil.which("patroni"), shutil.which("etcd")
NODES = ("db1", "db2", "db3")
SWITCHOVER_SECONDS = 60.0
"""How long a switchover is asked for again where Patroni refuses it."""
MISSING = [
    name for name, found in {"postgresql": POSTGRES, "patroni": PATRONI, "etcd-server": ETCD}.items() if not found
]

needs_patroni = pytest.mark.skipif(
    bool(MISSING) and not IS_REQUIRED,
    reason=f"not installed (Debian/Ubuntu: apt-get install {' '.join(MISSING)})",
)


@dataclass(slots=True)
class Program:
    """A program of one node, which a test kills and starts again."""

    command: list[str]
    environment: Mapping[str, str]
    folder: Path
    account: Account | None
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, without waiting for anything."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command_of(self.account, self.command),
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", **self.environment},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """kill -9, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None


@dataclass(slots=True)
class EtcdMember:
    """One of the three that keep who the primary is."""

    program: Program
    client: str

    def is_leader(self) -> bool:
        """Whether it leads the others; False while it does not answer."""
        try:
            status = _asked(f"http://{self.client}/v3/maintenance/status", {})
        except OSError:
            return False
        return bool(status.get("leader")) and status["leader"] == status["header"]["member_id"]


@dataclass(slots=True)
class PatroniNode:
    """One PostgreSQL, and the Patroni that sees to it."""

    name: str
    program: Program
    data: Path
    postgres: str
    api: str
    credentials: str

    def is_primary(self) -> bool:
        """Whether Patroni says that its PostgreSQL is the primary; False while it does not answer."""
        try:
            _asked(f"http://{self.api}/primary")
        except OSError:
            return False
        return True

    def members(self) -> list[dict[str, Any]]:
        """What it knows of all nodes. Raises OSError."""
        found: list[dict[str, Any]] = _asked(f"http://{self.api}/cluster")["members"]
        return found

    def kill_postgres(self) -> None:
        """kill -9 of the process whose children are all of PostgreSQL, if it runs."""
        pid = self.postgres_pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    def postgres_pid(self) -> int | None:
        """The first process of its PostgreSQL; None if it does not run."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            return None
        # The number may be that of another program by now.
        return pid if str(self.data).encode() in b" ".join(words) else None

    def switch_over(self) -> None:
        """Asks its Patroni, which leads, to hand over to the synchronous standby.

        It refuses while the standby does not answer it, as on a busy machine; whoever operates it asks again then.
        """
        end = time.monotonic() + SWITCHOVER_SECONDS
        while True:
            try:
                _asked(f"http://{self.api}/switchover", {"leader": self.name}, self.credentials, seconds=60)
            except urllib.error.HTTPError as error:
                reason = error.read().decode(errors="replace")
                if error.code != HTTPStatus.PRECONDITION_FAILED or time.monotonic() > end:
                    raise AssertionError(f"Patroni refuses to switch over: {error.code} {reason}") from error
                time.sleep(1)
            else:
                return


@dataclass(slots=True)
class PatroniCluster:
    """All nodes, and the URL of the database on them."""

    nodes: list[PatroniNode] = field(default_factory=list)
    etcd: list[EtcdMember] = field(default_factory=list)
    url: str = ""

    def primary(self) -> PatroniNode | None:
        """The node that Patroni calls the primary, if there is one now."""
        return next((node for node in self.nodes if node.is_primary()), None)

    def is_whole(self) -> bool:
        """Whether there is a primary, a synchronous standby and another one, all on the same timeline."""
        for node in self.nodes:
            try:
                members = node.members()
            except OSError:
                continue
            roles = sorted(str(member["role"]) for member in members)
            return (
                roles == ["leader", "replica", "sync_standby"]
                and all(member["state"] in {"running", "streaming"} for member in members)
                and len({member.get("timeline") for member in members}) == 1
            )
        return False

    def wait_until_whole(self) -> None:
        """Waits until the next primary could be lost."""
        wait_until(self.is_whole, 90, "a whole cluster", pause=0.25)

    def wait_for_primary(self, other_than: PatroniNode | None = None, killed: int | None = None) -> PatroniNode:
        """The primary, once it is another one; or the same, with another PostgreSQL than the one with this pid."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            primary = self.primary()
            if primary is not None:
                is_restarted = killed is not None and primary.postgres_pid() not in (None, killed)
                if primary is not other_than or is_restarted:
                    return primary
            time.sleep(0.05)
        raise AssertionError(f"no new primary\n{self.logs()}")

    def logs(self) -> str:
        """The last lines of what the nodes have logged."""
        return "\n".join(
            f"--- {node.name}\n" + "\n".join(node.program.log.read_text(errors="replace").splitlines()[-30:])
            for node in self.nodes
            if node.program.log.exists()
        )


@contextmanager
def patroni_cluster() -> Iterator[PatroniCluster]:
    """A whole cluster with an empty database."""
    assert not MISSING, f"install {' '.join(MISSING)} (Debian/Ubuntu: apt-get)"
    folder, account = server_folder("patroni-")
    cluster = PatroniCluster()
    passwords = {name: secrets.token_urlsafe(16) for name in ("superuser", "replication", "api", "service")}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(_stop, cluster)
        cluster.etcd = _etcd_members(folder, account)
        for member in cluster.etcd:
            member.program.start()
        wait_until(lambda: any(member.is_leader() for member in cluster.etcd), 60, "etcd has a leader")
        cluster.nodes = _patroni_nodes(folder, account, cluster.etcd, passwords)
        for node in cluster.nodes:
            node.program.start()
        cluster.wait_until_whole()
        cluster.url = _database_url(cluster, passwords)
        _create_database(cluster.wait_for_primary(), passwords)
        try:
            yield cluster
        except Exception as error:
            error.add_note(cluster.logs())
            raise


def settings_in(path: Path) -> dict[str, str]:
    """The variables of a file for `EnvironmentFile=`."""
    lines = (line.partition("=") for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in lines}


def _etcd_members(folder: Path, account: Account | None) -> list[EtcdMember]:
    assert ETCD is not None
    ports = {name: (free_port(), free_port()) for name in NODES}
    members = []
    for name, (client, peer) in ports.items():
        environment = settings_in(FILES / "etcd.env") | {
            "ETCD_NAME": name,
            "ETCD_DATA_DIR": str(folder / f"etcd-{name}"),
            "ETCD_LISTEN_CLIENT_URLS": f"http://127.0.0.1:{client}",
            "ETCD_ADVERTISE_CLIENT_URLS": f"http://127.0.0.1:{client}",
            "ETCD_LISTEN_PEER_URLS": f"http://127.0.0.1:{peer}",
            "ETCD_INITIAL_ADVERTISE_PEER_URLS": f"http://127.0.0.1:{peer}",
            "ETCD_INITIAL_CLUSTER": ",".join(f"{other}=http://127.0.0.1:{p}" for other, (_, p) in ports.items()),
        }
        program = Program([ETCD], environment, folder, account, folder / f"etcd-{name}.log")
        members.append(EtcdMember(program, f"127.0.0.1:{client}"))
    return members


def _patroni_nodes(
    folder: Path, account: Account | None, etcd: list[EtcdMember], passwords: Mapping[str, str]
) -> list[PatroniNode]:
    assert PATRONI is not None
    nodes = []
    for name in NODES:
        data, postgres, api = folder / f"data-{name}", f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        environment = settings_in(FILES / "node.env") | {
            "PATRONI_NAME": name,
            "PATRONI_ETCD3_HOSTS": ",".join(member.client for member in etcd),
            "PATRONI_RESTAPI_LISTEN": api,
            "PATRONI_RESTAPI_CONNECT_ADDRESS": api,
            "PATRONI_RESTAPI_PASSWORD": passwords["api"],
            "PATRONI_POSTGRESQL_LISTEN": postgres,
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS": postgres,
            "PATRONI_POSTGRESQL_DATA_DIR": str(data),
            "PATRONI_POSTGRESQL_BIN_DIR": str(POSTGRES[-1]),
            "PATRONI_POSTGRESQL_PGPASS": str(folder / f"pgpass-{name}"),
            "PATRONI_SUPERUSER_PASSWORD": passwords["superuser"],
            "PATRONI_REPLICATION_PASSWORD": passwords["replication"],
        }
        program = Program(
            [PATRONI, str(FILES / "patroni.yml")], environment, folder, account, folder / f"patroni-{name}.log"
        )
        credentials = f"{environment['PATRONI_RESTAPI_USERNAME']}:{passwords['api']}"
        nodes.append(PatroniNode(name, program, data, postgres, api, credentials))
    return nodes


def _database_url(cluster: PatroniCluster, passwords: Mapping[str, str]) -> str:
    """The URL of truestock.env, with the hosts and the password of this cluster."""
    url = settings_in(FILES / "truestock.env")["DATABASE_URL"]
    for node in cluster.nodes:
        url = url.replace(f"{node.name}:5432", node.postgres)
    return url.replace("change-me", passwords["service"])


def _create_database(primary: PatroniNode, passwords: Mapping[str, str]) -> None:
    host, _, port = primary.postgres.partition(":")
    statements = (
        f"CREATE ROLE truestock LOGIN PASSWORD '{passwords['service']}'",
        "CREATE DATABASE truestock OWNER truestock",
    )
    subprocess.run(
        [str(POSTGRES[-1] / "psql"), "-Xq", "-v", "ON_ERROR_STOP=1", *(w for s in statements for w in ("-c", s))],
        env={"PGHOST": host, "PGPORT": port, "PGUSER": "postgres", "PGPASSWORD": passwords["superuser"]},
        check=True,
        capture_output=True,
    )


def _stop(cluster: PatroniCluster) -> None:
    """Ends everything at once: nothing of it is kept."""
    for node in cluster.nodes:
        node.program.kill()
    for node in cluster.nodes:
        node.kill_postgres()
    for member in cluster.etcd:
        member.program.kill()
    wait_until(lambda: all(node.postgres_pid() is None for node in cluster.nodes), 30, "PostgreSQL has ended")


def _asked(url: str, body: Mapping[str, Any] | None = None, credentials: str = "", *, seconds: float = 2) -> Any:
    """The JSON that an address answers. Raises OSError, also for codes from 400 on."""
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    if credentials:
        request.add_header("Authorization", f"Basic {base64.b64encode(credentials.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        text = answer.read()
    try:
        return json.loads(text)
    except ValueError:
        return text.decode()
