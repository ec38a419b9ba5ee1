"""Another revision of the repository, built from Git into an environment of its own and kept for the next run."""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "truestock-bench"
"""A folder for each commit. It may be deleted at any time; then the next run builds again."""
DEFAULT_REVISION = "1c9107f"
"""The last revision before work on speed began."""
LAST_LINES = 20


class RevisionError(Exception):
    """The revision cannot be built. The message says why."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The files of a revision, and the Python of its environment."""

    name: str
    folder: Path
    python: Path

    @property
    def rules(self) -> Path:
        """The rules folder of the revision."""
        return self.folder / "rules"


def working_tree() -> Tree:
    """The files that this program itself is part of."""
    return Tree("working tree", REPOSITORY, Path(sys.executable))


def find_commit(revision: str, repository: Path = REPOSITORY) -> str:
    """The full hash of the commit that a revision names. Raises RevisionError."""
    if _git(repository, "rev-parse", "--git-dir").returncode:
        raise RevisionError(f"{repository} is not a clone of the Git repository, so other revisions are unknown")
    found = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode:
        raise RevisionError(
            f"{revision!r} is no revision of this clone; `git log` lists commits, and a shallow clone has only the "
            "latest (git fetch --unshallow)"
        )
    return found.stdout.decode().strip()


def build(commit: str, repository: Path = REPOSITORY, cache: Path = CACHE) -> Tree:
    """The files of a commit with the environment that its own `tools/setup` makes. Raises RevisionError.

    A commit that has been built before is not built again.
    """
    folder = cache / commit
    tree = Tree(commit[:7], folder, folder / ".venv" / "bin" / "python")
    finished = folder / ".finished"
    with _locked(cache / f"{commit}.lock"):
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _extract(commit, repository, folder)
            _set_up(folder, repository)
            finished.touch()
    return tree


def _extract(commit: str, repository: Path, folder: Path) -> None:
    archive = _git(repository, "archive", commit)
    if archive.returncode:
        raise RevisionError(f"git archive {commit} failed: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")


def _set_up(folder: Path, repository: Path) -> None:
    """Runs the setup of the revision, with the Python of this process, so that only the revisions differ."""
    # The uv that `make setup` may have installed here.
    path = os.pathsep.join((str(repository / ".uv" / "bin"), os.environ.get("PATH", os.defpath)))
    completed = subprocess.run(
        ["sh", "tools/setup"],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHON": sys.executable, "VENV": ".venv"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if completed.returncode:
        lines = completed.stdout.strip().splitlines()[-LAST_LINES:]
        raise RevisionError(
            f"`tools/setup` of the revision, in {folder}, ended with {completed.returncode} and wrote\n"
            + "\n".join(f"    {line}" for line in lines)
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Only one process at a time builds a commit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *arguments], cwd=repository, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise RevisionError("git is not installed, so other revisions cannot be built") from error
