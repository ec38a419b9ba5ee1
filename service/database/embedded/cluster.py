"""PostgreSQL's data folder ("cluster") of an embedded server: creates it whole or not at all, and finds its process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from signal import SIGKILL

from service.database.embedded.location import (
    POSTGRES_VERSION,
    EmbeddedPostgresError,
    ServerFolder,
    StartAbandoned,
    command_of,
)
from service.database.embedded.password import new_password, password_statement, write_password

DATABASE = USER = "truestock"
UNFINISHED = "unfinished-"
RunProgram = Callable[..., None]
"""Runs one of PostgreSQL's programs, named first, with its arguments and a `statement` for its standard input."""
POLL_SECONDS = 0.02
"""How often a start looks whether it was abandoned."""

INITDB_OPTIONS = (
    f"--username={USER}",
    # Servers of Truestock have access rules of their own: see `password`.
    "--auth-local=reject",
    "--auth-host=reject",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--data-checksums",
    "--no-instructions",
)


def ensure_cluster(server_folder: ServerFolder, lock: int, abandoned: threading.Event) -> None:
    """Creates the data folder if it is missing.

    Raises EmbeddedPostgresError if these programs cannot read the data, and StartAbandoned.
    """
    if (server_folder.folder / "PG_VERSION").exists():
        raise EmbeddedPostgresError(
            f"{server_folder.folder} is the data folder of a PostgreSQL server that Truestock did not create. "
            "Pass the address of that server with --database-url, or another --data-dir."
        )
    run = partial(_run_program, server_folder, lock, abandoned)
    if not server_folder.cluster.exists():
        _create_cluster(server_folder, run)
    data_version = (server_folder.cluster / "PG_VERSION").read_text().strip()
    if data_version != POSTGRES_VERSION:
        raise EmbeddedPostgresError(
            f"The data in {server_folder.cluster} were created by PostgreSQL {data_version}; this Truestock has "
            f"{POSTGRES_VERSION}. Move them with pg_dump of the version that created them, or pass another --data-dir."
        )
    if not server_folder.password_file.exists():
        # An earlier version created the data, or the file was removed.
        password = new_password()
        _run_statements(run, server_folder.cluster, password_statement(USER, password))
        write_password(server_folder, USER, password)


def _create_cluster(server_folder: ServerFolder, run: RunProgram) -> None:
    """Creates a data folder with an empty database under a temporary name, then renames it: it is never partial."""
    for leftover in server_folder.folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(leftover)
    new = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=server_folder.folder))
    try:
        if server_folder.account is not None:
            os.chown(new, server_folder.account.user, server_folder.account.group)
        run("initdb", *INITDB_OPTIONS, f"--pgdata={new}")
        password = new_password()
        _run_statements(run, new, f"CREATE DATABASE {DATABASE}", password_statement(USER, password))
        write_password(server_folder, USER, password)
        new.rename(server_folder.cluster)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    _sync_folder(server_folder.folder)


def _run_statements(run: RunProgram, data: Path, *statements: str) -> None:
    """Runs statements, one a line, on data that no server uses, as their superuser."""
    run("postgres", "--single", "-D", str(data), "-c", "exit_on_error=on", "postgres", statement="\n".join(statements))


def _run_program(
    server_folder: ServerFolder,
    lock: int,
    abandoned: threading.Event,
    program: str,
    *arguments: str,
    statement: str = "",
) -> None:
    """Runs one of PostgreSQL's programs to its end, holding the lock. Raises with its output if it fails."""
    process = subprocess.Popen(
        command_of(server_folder.account, [str(server_folder.programs / program), *arguments]),
        cwd=server_folder.folder,
        env={"LC_ALL": "C", "PATH": os.defpath},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=(lock,),
        # Ctrl-C in a terminal is for the service, which then ends the program.
        start_new_session=True,
    )
    try:
        output = _output_of(process, statement, abandoned)
    finally:
        _kill_session(process)
    if process.returncode != 0:
        raise EmbeddedPostgresError(
            f"The embedded database could not be created in {server_folder.folder}: {program} ended with exit code "
            f"{process.returncode} and wrote\n{last_lines(output)}\n"
            "Fix the cause, pass another --data-dir, or pass --database-url."
        )


def _output_of(process: subprocess.Popen[str], statement: str, abandoned: threading.Event) -> str:
    """What the program wrote until its end. Raises StartAbandoned."""
    unsent: str | None = statement
    while not abandoned.is_set():
        try:
            output, _ = process.communicate(unsent, timeout=POLL_SECONDS)
            return output
        except subprocess.TimeoutExpired:
            unsent = None
    raise StartAbandoned("The start was abandoned.")


def _kill_session(process: subprocess.Popen[str]) -> None:
    """Kills the program, if it still runs, and what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, SIGKILL)
    with process:
        process.wait()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def server_pid(server_folder: ServerFolder) -> int | None:
    """The process id in the server's pid file; None if there is no pid file."""
    lines = pid_file(server_folder)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def pid_file(server_folder: ServerFolder) -> list[str]:
    """The lines of postmaster.pid: first the process id, eighth the state, which PostgreSQL pads with spaces."""
    try:
        return [line.strip() for line in (server_folder.cluster / "postmaster.pid").read_text().splitlines()]
    except FileNotFoundError:
        return []


def is_server_of(pid: int, server_folder: ServerFolder) -> bool:
    """Whether the process is PostgreSQL on our data folder: the process id alone may have been reused."""
    if sys.platform != "linux":
        command = ["ps", "-o", "args=", "-p", str(pid)]
        arguments = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return "postgres" in arguments and str(server_folder.cluster) in arguments
    process = Path("/proc") / str(pid)
    try:
        return (process / "comm").read_text().strip() == "postgres" and (process / "cwd").samefile(
            server_folder.cluster
        )
    except OSError:
        return False


def last_lines(text: str) -> str:
    """The last twenty lines, indented for a message."""
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-20:])
