"""The rules folder as it lies on disk: its files by path, what of it cannot be read, and the folders to watch.

Links are followed as far as they stay inside: Kubernetes mounts a ConfigMap as links into a hidden folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from policies.reading.rules_reader import EXTENSIONS, FOLDER, MAX_FILES, MAX_FOLDER_BYTES
from policies.source.problems import Problem, render, terminal_safe

MAX_ENTRIES = 20_000
"""Files and folders that are looked at; links can make few folders look like endlessly many."""

_LINK_OUT = "put the file itself into the folder, so that what decides is all in one place."


@dataclass(frozen=True, slots=True)
class RulesFolder:
    """What a rules folder has. `files` are by path as planners know it, such as `rules/buffers/stores.yaml`.

    `folders` are the folders that the files were found in, with what tells one from another of its name.
    """

    files: dict[str, bytes]
    problems: tuple[Problem, ...] = ()
    folders: frozenset[tuple[Path, int, int]] = field(default=frozenset(), compare=False)


def find(folder: Path) -> RulesFolder:
    """Everything in the folder that is not hidden and ends like YAML. Never raises for what is there, or is not."""
    search = _FolderWalk(folder, Path(os.path.realpath(folder)))
    search.run()
    return RulesFolder(search.files, tuple(sorted(search.problems)), frozenset(search.folders))


def problems_text(problems: tuple[Problem, ...], files: dict[str, bytes]) -> str:
    """Problems as a planner reads them."""
    return render(problems, {path: content.decode(errors="replace") for path, content in files.items()})


@dataclass(slots=True)
class _FolderWalk:
    """A walk through the folder, and what it has found. `root` is where the folder really is."""

    folder: Path
    root: Path
    files: dict[str, bytes] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    folders: list[tuple[Path, int, int]] = field(default_factory=list)
    size: int = 0

    def run(self) -> None:
        for number, path in enumerate(self._paths()):
            if number >= MAX_ENTRIES:
                message = f"the folder has more than {MAX_ENTRIES:,} entries; the others were not looked at"
                self._note(self.folder, message, "keep only rules in it.", code="too-large")
                return
            self._take(path)
            # One too many tells the reader that there are too many; suites are counted for themselves.
            if self.size > MAX_FOLDER_BYTES or len(self.files) > 2 * MAX_FILES:
                return

    def _paths(self) -> Iterator[Path]:
        """What is not hidden in the folder and the folders inside it, which count as entries themselves."""
        for name, folders, names in os.walk(self.folder, onerror=self._unreadable, followlinks=True):
            here = Path(name)
            self._remember(here)
            folders[:] = [one for one in sorted(folders) if not one.startswith(".") and self._is_within(here / one)]
            yield from (here / one for one in folders)
            yield from (here / one for one in sorted(names) if not one.startswith("."))

    def _remember(self, folder: Path) -> None:
        try:
            status = folder.stat()
        except OSError as error:
            self._unreadable(error)
        else:
            self.folders.append((folder, status.st_dev, status.st_ino))

    def _is_within(self, path: Path) -> bool:
        """Whether a folder is to be walked: a link may lead neither out of the rules nor back to where it stands."""
        if not path.is_symlink():
            return True
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(self.root):
            self._note(path, "this link leads to a folder outside the rules, which is not read", _LINK_OUT)
            return False
        return not Path(os.path.realpath(path.parent)).is_relative_to(real)

    def _take(self, path: Path) -> None:
        if path.suffix not in EXTENSIONS:
            return
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(self.root):
            self._note(path, "this link leads to a file outside the rules, which is not read", _LINK_OUT)
            return
        if terminal_safe(self._name(path)) != self._name(path):
            self._note(path, "this file's name is no plain text", "name it with letters, digits and hyphens.")
            return
        # What is neither file nor folder could keep its reader waiting for ever.
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
        what = "the rules folder" if path == self.folder else "this"
        help = "look at its permissions, at where links lead, and whether it is still there."
        self._note(path, f"{what} cannot be read: {error.strerror}", help)

    def _note(self, path: Path, message: str, help: str, code: str = "not-readable") -> None:
        self.problems.append(Problem(self._name(path), 0, 0, code, message, help))

    def _name(self, path: Path) -> str:
        """The path as planners know it; '.' is the whole folder, as for the reader."""
        if path == self.folder:
            return FOLDER
        return f"{self.root.name}/{path.relative_to(self.folder).as_posix()}"
