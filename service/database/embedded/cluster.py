"""PostgreSQL's data folder ("cluster") in an embedded server's place: made whole or not at all, and who is using it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from service.database.embedded.location import POSTGRES_VERSION, EmbeddedPostgresError, ServerFolder, process_options

DATABASE = USER = "truestock"
UNFINISHED = "unfinished-"

INITDB_OPTIONS = (
    f"--username={USER}",
    # Whoever can enter the socket's folder may connect: that is the service's user, the server's account and root.
    "--auth-local=trust",
    "--auth-host=reject",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--data-checksums",
    "--no-instructions",
)


def ensure_cluster(place: ServerFolder, lock: int) -> None:
    """Make the data folder the first time. Raises if one is there that these programs cannot read."""
    if (place.folder / "PG_VERSION").exists():
        raise EmbeddedPostgresError(
            f"{place.folder} is the data folder of a PostgreSQL server that Truestock did not make. "
            "Pass the address of that server with --database-url, or another --data-dir."
        )
    if not place.cluster.exists():
        _make_cluster(place, lock)
    found = (place.cluster / "PG_VERSION").read_text().strip()
    if found != POSTGRES_VERSION:
        raise EmbeddedPostgresError(
            f"The data in {place.cluster} were made by PostgreSQL {found}; this Truestock has {POSTGRES_VERSION}. "
            "Move them with pg_dump of the version that made them, or pass another --data-dir."
        )


def _make_cluster(place: ServerFolder, lock: int) -> None:
    """Make a data folder with an empty database beside its place, then give it its name: it is there whole or not."""
    for leftover in place.folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(leftover)
    new = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=place.folder))
    try:
        if place.account is not None:
            os.chown(new, place.account.user, place.account.group)
        _run_program(place, lock, "initdb", *INITDB_OPTIONS, f"--pgdata={new}")
        single_user = ("--single", "-D", str(new), "-c", "exit_on_error=on", "postgres")
        _run_program(place, lock, "postgres", *single_user, statement=f"CREATE DATABASE {DATABASE}")
        new.rename(place.cluster)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    _sync_folder(place.folder)


def _run_program(place: ServerFolder, lock: int, program: str, *arguments: str, statement: str = "") -> None:
    """Run one of PostgreSQL's programs to its end, holding the lock. Raises with what it wrote if it fails."""
    ran = subprocess.run(
        [str(place.programs / program), *arguments],
        cwd=place.folder,
        env={"LC_ALL": "C", "PATH": os.defpath},
        input=statement,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        pass_fds=(lock,),
        **process_options(place.account),
    )
    if ran.returncode != 0:
        raise EmbeddedPostgresError(
            f"The embedded database could not be made in {place.folder}: {program} ended with exit code "
            f"{ran.returncode} and wrote\n{last_lines(ran.stdout)}\n"
            "Put that right, pass another --data-dir, or pass --database-url."
        )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def server_pid(place: ServerFolder) -> int | None:
    """The number of the server's main process, as it wrote it; None where no server has left one."""
    lines = pid_file(place)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def pid_file(place: ServerFolder) -> list[str]:
    """The lines of postmaster.pid: first the process, eighth the state, with spaces behind it."""
    try:
        return [line.strip() for line in (place.cluster / "postmaster.pid").read_text().splitlines()]
    except FileNotFoundError:
        return []


def is_server_of(pid: int, place: ServerFolder) -> bool:
    """Whether the process is PostgreSQL on our data folder: the number alone may belong to anything by now."""
    if sys.platform != "linux":
        command = ["ps", "-o", "args=", "-p", str(pid)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return "postgres" in shown and str(place.cluster) in shown
    process = Path("/proc") / str(pid)
    try:
        return (process / "comm").read_text().strip() == "postgres" and (process / "cwd").samefile(place.cluster)
    except OSError:
        return False


def last_lines(text: str) -> str:
    """The last twenty lines, set off from the message around them."""
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-20:])
