"""What is read of a rules folder, whatever lies in it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.cli.commands.check_command import run
from service.policy import rules_folder
from service.policy.rules_folder import find

NOBODY = 65_534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "rules"
    made.mkdir()
    return made


def problems(folder: Path) -> list[tuple[str, str]]:
    return [(problem.file, problem.message) for problem in find(folder).problems]


def test_files_are_named_as_planners_know_them(folder: Path) -> None:
    (folder / "buffers").mkdir()
    rules = ("a.yaml", "b.yml", "buffers/stores.yaml", "buffers/stores_test.yaml")
    for name in (*rules, "README.md", "a.yaml~", ".#a.yaml"):
        (folder / name).write_text(name)

    found = find(folder)

    assert sorted(found.files) == [f"rules/{name}" for name in rules]
    assert not found.problems


def test_links_that_stay_inside_are_followed_as_kubernetes_makes_them(folder: Path) -> None:
    (folder / "..2026_11_27/buffers").mkdir(parents=True)
    (folder / "..2026_11_27/all.yaml").write_text("all")
    (folder / "..2026_11_27/buffers/stores.yaml").write_text("stores")
    (folder / "..data").symlink_to("..2026_11_27")
    (folder / "all.yaml").symlink_to("..data/all.yaml")
    (folder / "buffers").symlink_to("..data/buffers")

    assert find(folder).files == {"rules/all.yaml": b"all", "rules/buffers/stores.yaml": b"stores"}
    assert not find(folder).problems


def test_a_link_out_of_the_folder_is_told_and_not_followed(folder: Path) -> None:
    (folder.parent / "secret.yaml").write_text("secret")
    (folder / "a.yaml").symlink_to("../secret.yaml")
    (folder / "b").symlink_to("..")

    assert find(folder).files == {}
    assert problems(folder) == [
        ("rules/a.yaml", "this link leads to a file outside the rules, which is not read"),
        ("rules/b", "this link leads to a folder outside the rules, which is not read"),
    ]


def test_a_link_that_leads_nowhere_is_told(folder: Path) -> None:
    (folder / "a.yaml").symlink_to("gone.yaml")
    (folder / "b.yaml").symlink_to("b.yaml")

    assert problems(folder) == [
        ("rules/a.yaml", "this cannot be read: No such file or directory"),
        ("rules/b.yaml", "this cannot be read: Too many levels of symbolic links"),
    ]


def test_links_that_go_round_in_circles_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_folder, "MAX_ENTRIES", 500)
    for name, other in (("a", "b"), ("b", "a")):
        (folder / name).mkdir()
        (folder / name / "up").symlink_to("..")
        (folder / name / "one").symlink_to(f"../{other}")
        (folder / name / "two").symlink_to(f"../{other}")
    (folder / "all.yaml").write_text("all")

    found = find(folder)

    assert found.files == {"rules/all.yaml": b"all"}
    assert "too-large" in {problem.code for problem in found.problems}


def test_a_name_that_is_no_text_is_told(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.yaml")).touch()

    assert problems(folder) == [("rules/\udcff.yaml", "this file's name is no plain text")]


def test_what_is_no_file_keeps_nobody_waiting(folder: Path) -> None:
    os.mkfifo(folder / "pipe.yaml")
    (folder / "folder.yaml").mkdir()

    assert not find(folder).files
    assert not find(folder).problems


def test_a_folder_that_is_not_there_is_a_problem_of_the_whole(folder: Path) -> None:
    folder.rmdir()

    assert problems(folder) == [(".", "the rules folder cannot be read: No such file or directory")]


def test_what_may_not_be_read_is_told() -> None:
    """A file and a folder whose permissions are wrong; whoever may read everything becomes nobody for a moment."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "rules"
        (folder / "shut").mkdir(parents=True)
        (folder / "a.yaml").write_text("a")
        (folder / "b.yaml").write_text("b")
        folder.parent.chmod(0o755)
        (folder / "a.yaml").chmod(0)
        (folder / "shut").chmod(0)
        with without_privileges():
            found = find(folder)
        (folder / "shut").chmod(0o700)

    assert found.files == {"rules/b.yaml": b"b"}
    assert [(problem.file, problem.message) for problem in found.problems] == [
        ("rules/a.yaml", "this cannot be read: Permission denied"),
        ("rules/shut", "this cannot be read: Permission denied"),
    ]


def test_the_check_of_a_folder_tells_what_it_could_not_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.yaml").symlink_to("../secret.yaml")

    assert run(folder) == 1
    assert "rules/a.yaml: this link leads to a file outside the rules, which is not read [not-readable]" in (
        capsys.readouterr().out
    )


def test_a_folder_beyond_all_bounds_is_read_no_further(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_folder, "MAX_FOLDER_BYTES", 1_000)
    for number in range(10):
        (folder / f"{number}.yaml").write_text("x" * 300)

    assert sum(map(len, find(folder).files.values())) == 1_001


@contextmanager
def without_privileges() -> Iterator[None]:
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)
