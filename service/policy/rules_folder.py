"""The rules folder on disk: its files by path, what could not be read, and the folders to watch.

Links are followed if they stay inside the folder: Kubernetes mounts a ConfigMap as links into a hidden folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from policies.reading.rate_tables import is_rate_file
from policies.reading.rules_reader import FOLDER, MAX_FILES, MAX_FOLDER_BYTES, is_yaml_file
from policies.source.problems import Problem, render, terminal_safe

MAX_ENTRIES = 20_000
"""The limit of files and folders in one read; links can make a few folders look like endlessly many."""

_LINK_OUT = "put the file itself into the folder, so that all rules are in one place."


@dataclass(frozen=True, slots=True)
class RulesFolder:
    """The content of a rules folder. `files` are by path from the rules folder, such as `rules/buffers/stores.yaml`.

    `folders` are the folders of the files, each with its device and inode, which differ if a folder was replaced.
    """

    files: dict[str, bytes]
    problems: tuple[Problem, ...] = ()
    folders: frozenset[tuple[Path, int, int]] = field(default=frozenset(), compare=False)


def read_folder(folder: Path) -> RulesFolder:
    """Reads all YAML and CSV files that are not hidden. What cannot be read is a problem, never an exception."""
    walk = _FolderWalk(folder, Path(os.path.realpath(folder)))
    walk.run()
    return RulesFolder(walk.files, tuple(sorted(walk.problems)), frozenset(walk.folders))


def problems_text(problems: tuple[Problem, ...], files: dict[str, bytes]) -> str:
    """Problems as text for a planner, with the lines of the files."""
    return render(problems, {path: content.decode(errors="replace") for path, content in files.items()})


@dataclass(slots=True)
class _FolderWalk:
    """A walk through the folder and its results. `root` is the folder with links resolved."""

    folder: Path
    root: Path
    files: dict[str, bytes] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    folders: list[tuple[Path, int, int]] = field(default_factory=list)
    size: int = 0

    def run(self) -> None:
        for number, path in enumerate(self._paths()):
            if number >= MAX_ENTRIES:
                message = f"the folder has more than {MAX_ENTRIES:,} entries; the others were not read"
                self._add_problem(self.folder, message, "keep only rules in it.", code="too-large")
                return
            self._add_file(path)
            # One file too many lets the reader report that there are too many; test suites count separately.
            if self.size > MAX_FOLDER_BYTES or len(self.files) > 2 * MAX_FILES:
                return

    def _paths(self) -> Iterator[Path]:
        """All entries that are not hidden, in the folder and in the folders inside it."""
        for name, folders, names in os.walk(self.folder, onerror=self._unreadable, followlinks=True):
            parent = Path(name)
            self._add_folder(parent)
            folders[:] = [
                child for child in sorted(folders) if not child.startswith(".") and self._is_within(parent / child)
            ]
            yield from (parent / child for child in folders)
            yield from (parent / child for child in sorted(names) if not child.startswith("."))

    def _add_folder(self, folder: Path) -> None:
        try:
            status = folder.stat()
        except OSError as error:
            self._unreadable(error)
        else:
            self.folders.append((folder, status.st_dev, status.st_ino))

    def _is_within(self, path: Path) -> bool:
        """Whether to walk a folder. A link must lead neither out of the rules nor to a folder that contains it."""
        if not path.is_symlink():
            return True
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(self.root):
            self._add_problem(path, "this link leads to a folder outside the rules, which is not read", _LINK_OUT)
            return False
        return not Path(os.path.realpath(path.parent)).is_relative_to(real)

    def _add_file(self, path: Path) -> None:
        if not (is_yaml_file(path.name) or is_rate_file(path.name)):
            return
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(self.root):
            self._add_problem(path, "this link leads to a file outside the rules, which is not read", _LINK_OUT)
            return
        if terminal_safe(self._name(path)) != self._name(path):
            self._add_problem(path, "this file's name is not plain text", "name it with letters, digits and hyphens.")
            return
        # Reading a pipe or a device could block forever.
        if path.is_file() or not path.exists():
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FOLDER_BYTES - self.size + 1)
        except OSError as error:
            self._unreadable(error)
            return
        self.size += len(content)
        self.files[self._name(path)] = content

    def _unreadable(self, error: OSError) -> None:
        path = Path(error.filename)
        subject = "the rules folder" if path == self.folder else "this"
        help = "check its permissions, the targets of links, and whether it still exists."
        self._add_problem(path, f"{subject} cannot be read: {error.strerror}", help)

    def _add_problem(self, path: Path, message: str, help: str, code: str = "not-readable") -> None:
        self.problems.append(Problem(self._name(path), 0, 0, code, message, help))

    def _name(self, path: Path) -> str:
        """The path from the rules folder; '.' is the folder itself, as in `rules_reader`."""
        if path == self.folder:
            return FOLDER
        # As the folder is called, not what a link leads to: that may be a folder for each version of the same rules.
        called = self.folder.absolute().name
        return f"{self.root.name if called == '..' else called}/{path.relative_to(self.folder).as_posix()}"
