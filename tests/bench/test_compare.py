"""`python -m bench compare` builds another revision from Git and drives the same load at both services."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bench.bench_calls import CallStream
from bench.compare import comparison, served_tree
from bench.compare.revision import RevisionError, Tree, build, find_commit, working_tree
from bench.compare.served_tree import StartFailed, serving
from bench.rounds import Pace

SETUP = "mkdir -p .venv/bin && date +%N > .venv/bin/python"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone with one commit, whose setup writes a file where the Python of its environment would be."""
    folder = tmp_path / "clone"
    (folder / "tools").mkdir(parents=True)
    commit(folder, setup=SETUP)
    return folder


def commit(folder: Path, *, setup: str) -> None:
    (folder / "tools" / "setup").write_text(setup)
    author = ("-c", "user.name=Planner", "-c", "user.email=planner@example.com")
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "--no-gpg-sign", "-m", "Change the setup"]):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)


def test_a_revision_is_built_by_its_own_setup_and_only_once(repository: Path, tmp_path: Path) -> None:
    head = find_commit("HEAD", repository)
    commit(repository, setup="false")

    first = build(head, repository, tmp_path / "cache")
    built = first.python.read_text()
    second = build(head, repository, tmp_path / "cache")

    assert first.folder == tmp_path / "cache" / head
    assert second.python.read_text() == built


def test_a_setup_that_fails_is_reported_with_the_end_of_its_output(repository: Path, tmp_path: Path) -> None:
    commit(repository, setup="for n in $(seq 50); do echo step $n; done; echo no compiler >&2; exit 3")

    with pytest.raises(RevisionError, match=r"ended with 3 and wrote\n    step 32\n(.*\n)+    no compiler$"):
        build(find_commit("HEAD", repository), repository, tmp_path / "cache")


def test_a_build_that_failed_is_tried_again(repository: Path, tmp_path: Path) -> None:
    commit(repository, setup=f"[ -e '{tmp_path}/compiler' ] && {SETUP}")
    head = find_commit("HEAD", repository)
    with pytest.raises(RevisionError):
        build(head, repository, tmp_path / "cache")
    (tmp_path / "compiler").touch()

    assert build(head, repository, tmp_path / "cache").python.exists()


@pytest.mark.parametrize("revision", ["no-such-branch", "--all", ""])
def test_an_unknown_revision_is_named(revision: str, repository: Path) -> None:
    with pytest.raises(RevisionError, match=f"'{revision}' is no revision of this clone"):
        find_commit(revision, repository)


def test_a_folder_that_is_no_clone_says_so(tmp_path: Path) -> None:
    with pytest.raises(RevisionError, match="is not a clone of the Git repository"):
        find_commit("HEAD", tmp_path)


@pytest.mark.long
async def test_a_service_that_does_not_start_is_reported_with_what_it_wrote(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("kind: buffers\n")

    with pytest.raises(StartFailed, match=r"broken\.yaml:1:7: .*kind"):
        async with serving(working_tree(), tmp_path):
            pass


@pytest.mark.long
async def test_both_services_answer_the_same_load_and_end_with_their_databases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comparison, "SKUS", comparison.SKUS[:10])
    monkeypatch.setattr(comparison, "LOADS", {name: few_callers(name) for name in comparison.LOADS})
    monkeypatch.setattr(served_tree, "START_WORK_SECONDS", 0)
    monkeypatch.setattr(served_tree, "IDLE_WITHIN_SECONDS", 1)
    new = working_tree()
    base = Tree("base", new.folder, new.python)
    # The database of the other tests is a child of this process, too.
    others = set(psutil.Process().children(recursive=True))
    started: set[psutil.Process] = set()

    def note_processes(step: str) -> None:
        started.update(set(psutil.Process().children(recursive=True)) - others)

    report = await comparison.measure(new, base, Pace(rounds=1, seconds=0.2), step=note_processes)

    assert started
    assert not [process for process in started if process.is_running()]
    assert {ratio.name for ratio in report.ratios} == {
        f"{load}{figure}_vs_base" for load in comparison.LOADS for figure in ("", "_cpu", "_p99")
    }
    assert report.settings["rules"] == "both serve those of working tree"
    assert report.verified.count("as many by the stock levels of 11 SKUs") == 2


def few_callers(load: str) -> CallStream:
    stream = comparison.LOADS[load]
    skus = [sku if sku == comparison.HOT else f"SKU-{number % 10 + 1}" for number, sku in enumerate(stream.skus)]
    return replace(stream, callers=4, skus=skus)
