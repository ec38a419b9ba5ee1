"""Reading a rules folder, with links, unreadable files and everything else that may be in it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from service.cli.commands.rules.check_command import run
from service.metrics import Metrics
from service.policy import rules_folder
from service.policy.active_policies import ActivePolicies
from service.policy.rules_folder import read_folder
from service.policy.sandbox_process import try_rules

NOBODY_UID = 65_534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rules = tmp_path / "rules"
    rules.mkdir()
    return rules


def problems(folder: Path) -> list[tuple[str, str]]:
    return [(problem.file, problem.message) for problem in read_folder(folder).problems]


def test_files_are_named_by_their_path_in_the_rules_folder(folder: Path) -> None:
    (folder / "buffers").mkdir()
    rules = ("a.yaml", "b.yml", "buffers/stores.yaml", "buffers/stores_test.yaml")
    for name in (*rules, "README.md", "a.yaml~", ".#a.yaml"):
        (folder / name).write_text(name)

    rules_folder_content = read_folder(folder)

    assert sorted(rules_folder_content.files) == [f"rules/{name}" for name in rules]
    assert not rules_folder_content.problems


def test_files_of_a_folder_that_is_a_link_are_named_alike_wherever_it_leads(folder: Path) -> None:
    for version in ("v1", "v2"):
        (folder / version).mkdir()
        (folder / version / "a.yaml").write_text("a")
    link = folder.parent / "current"
    link.symlink_to(folder / "v1")
    before = read_folder(link)
    link.unlink()
    link.symlink_to(folder / "v2")

    assert before.files == {"current/a.yaml": b"a"}
    assert read_folder(link).files == before.files
    assert read_folder(link).folders != before.folders


@pytest.mark.parametrize("place", [".", "buffers/..", "../rules", "../rules/"])
def test_files_have_the_folders_name_however_it_is_given(
    place: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "buffers").mkdir()
    (folder / "a.yaml").write_text("a")
    monkeypatch.chdir(folder)

    assert read_folder(Path(place)).files == {"rules/a.yaml": b"a"}


def test_links_inside_the_folder_are_followed_as_kubernetes_creates_them(folder: Path) -> None:
    (folder / "..2026_11_27/buffers").mkdir(parents=True)
    (folder / "..2026_11_27/all.yaml").write_text("all")
    (folder / "..2026_11_27/buffers/stores.yaml").write_text("stores")
    (folder / "..data").symlink_to("..2026_11_27")
    (folder / "all.yaml").symlink_to("..data/all.yaml")
    (folder / "buffers").symlink_to("..data/buffers")

    assert read_folder(folder).files == {"rules/all.yaml": b"all", "rules/buffers/stores.yaml": b"stores"}
    assert not read_folder(folder).problems


def test_a_link_out_of_the_folder_is_a_problem_and_not_followed(folder: Path) -> None:
    (folder.parent / "secret.yaml").write_text("secret")
    (folder / "a.yaml").symlink_to("../secret.yaml")
    (folder / "b").symlink_to("..")

    assert read_folder(folder).files == {}
    assert problems(folder) == [
        ("rules/a.yaml", "this link leads to a file outside the rules, which is not read"),
        ("rules/b", "this link leads to a folder outside the rules, which is not read"),
    ]


def test_a_broken_link_is_a_problem(folder: Path) -> None:
    (folder / "a.yaml").symlink_to("gone.yaml")
    (folder / "b.yaml").symlink_to("b.yaml")

    assert problems(folder) == [
        ("rules/a.yaml", "this cannot be read: No such file or directory"),
        ("rules/b.yaml", "this cannot be read: Too many levels of symbolic links"),
    ]


def test_circular_links_end_at_the_limit_of_entries(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_folder, "MAX_ENTRIES", 500)
    for name, target in (("a", "b"), ("b", "a")):
        (folder / name).mkdir()
        (folder / name / "up").symlink_to("..")
        (folder / name / "one").symlink_to(f"../{target}")
        (folder / name / "two").symlink_to(f"../{target}")
    (folder / "all.yaml").write_text("all")

    rules_folder_content = read_folder(folder)

    assert rules_folder_content.files == {"rules/all.yaml": b"all"}
    assert "too-large" in {problem.code for problem in rules_folder_content.problems}


def test_a_file_name_that_is_not_text_is_a_problem(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.yaml")).touch()

    assert problems(folder) == [("rules/\udcff.yaml", "this file's name is not plain text")]


def test_pipes_and_folders_named_like_rules_are_ignored(folder: Path) -> None:
    os.mkfifo(folder / "pipe.yaml")
    (folder / "folder.yaml").mkdir()

    assert not read_folder(folder).files
    assert not read_folder(folder).problems


def test_a_missing_folder_is_a_problem(folder: Path) -> None:
    folder.rmdir()

    assert problems(folder) == [(".", "the rules folder cannot be read: No such file or directory")]


def test_files_and_folders_without_permission_are_problems() -> None:
    """Runs as the user nobody if the tests run as root, who may read everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "rules"
        (folder / "shut").mkdir(parents=True)
        (folder / "a.yaml").write_text("a")
        (folder / "b.yaml").write_text("b")
        folder.parent.chmod(0o755)
        (folder / "a.yaml").chmod(0)
        (folder / "shut").chmod(0)
        with without_privileges():
            rules_folder_content = read_folder(folder)
        (folder / "shut").chmod(0o700)

    assert rules_folder_content.files == {"rules/b.yaml": b"b"}
    assert [(problem.file, problem.message) for problem in rules_folder_content.problems] == [
        ("rules/a.yaml", "this cannot be read: Permission denied"),
        ("rules/shut", "this cannot be read: Permission denied"),
    ]


def test_the_check_command_reports_unreadable_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.yaml").symlink_to("../secret.yaml")

    assert run(folder) == 1
    assert "rules/a.yaml: this link leads to a file outside the rules, which is not read [not-readable]" in (
        capsys.readouterr().out
    )


def test_a_folder_above_the_size_limit_is_read_up_to_the_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_folder, "MAX_FOLDER_BYTES", 1_000)
    for number in range(10):
        (folder / f"{number}.yaml").write_text("x" * 300)

    assert sum(map(len, read_folder(folder).files.values())) == 1_001


@contextmanager
def without_privileges() -> Iterator[None]:
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY_UID)
    try:
        yield
    finally:
        os.seteuid(before)


def test_endings_in_capitals_are_read_by_everything_that_collects_rules(folder: Path) -> None:
    (folder / "Routing.YAML").write_text(
        "kind: routing\npolicies: [{name: all, position: 1, rank: [nearest], otherwise: exception}]\n"
    )
    (folder / "Stores.Yml").write_text(
        "kind: buffer\nname: stores\nscope: location\n"
        "rules: [{name: keep-two, when: {location.type: store}, hold_back: {units: 2}}]\n"
    )
    (folder / "Stores_Test.YML").write_text(
        "suite: Stores\nnow: 2026-11-27T09:00:00Z\ntests:\n- name: A store keeps two mugs\n"
        "  given: {channel: web, location: oslo, product: MUG, available: 5}\n"
        "  expect: {sellable: 3, because: [keep-two]}\n"
    )
    (folder / "FIXTURES_TEST.YAML").write_text(
        "locations: {oslo: {type: store}}\nproducts: {MUG: }\nchannels: {web: {kind: web}}\n"
    )

    files = read_folder(folder).files
    report = try_rules(files)

    assert len(files) == 4
    assert not report.problems
    assert [(result.file, result.passed) for result in report.results] == [("rules/Stores_Test.YML", True)]
    assert ActivePolicies(folder, Metrics(CollectorRegistry())).in_force().files == (
        "rules/Routing.YAML",
        "rules/Stores.Yml",
    )
