"""`truestock check`: output and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service.cli.commands.rules.check_command import run
from service.cli.console import UserError
from service.cli.main import main

RULES = Path(__file__).parents[3] / "rules"

GOOD = """\
kind: routing
policies:
  - {name: everything, position: 100, rank: [nearest]}
"""
SUITE = """\
suite: Everything
now: 2026-11-27T09:00:00Z
locations: {dc: {type: warehouse}}
products: {MUG: }
tests:
  - name: One mug
    given: {channel: pos, lines: {MUG: 1}, stock: {dc: {MUG: 1}}}
    expect: {outcome: allocated, because: []}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A valid rules folder."""
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "all.yaml").write_text(GOOD)
    (rules / "all_test.yaml").write_text(SUITE)
    return rules


def fail(folder: Path) -> None:
    """Makes the folder's one test fail."""
    (folder / "all_test.yaml").write_text(SUITE.replace("allocated", "unfillable"))


def test_valid_rules_print_one_line_and_exit_with_code_0(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder) == 0
    assert capsys.readouterr() == ("1 rule in 1 file, 1 test: 1 passed, 0 failed\n", "")


def test_a_failed_test_is_printed_with_its_evidence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fail(folder)

    assert run(folder) == 1
    assert capsys.readouterr().out.splitlines() == [
        "rules/all_test.yaml:8:23: expected the outcome unfillable, got allocated: One mug [test-failed]",
        "     8 |     expect: {outcome: unfillable, because: []}",
        "       |                       ^^^^^^^^^^",
        "    everything decided (rules/all.yaml:3)",
        "    dc: MUG: on hand 1, available 1, ships 1 of 1",
        "",
        "1 rule in 1 file, 1 test: 0 passed, 1 failed",
    ]


def test_json_has_problems_and_tests(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fail(folder)

    assert run(folder, output_format="json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["summary"] == "1 rule in 1 file, 1 test: 0 passed, 1 failed"
    assert (report["problems"][0]["code"], report["problems"][0]["line"]) == ("test-failed", 8)
    assert report["tests"] == [
        {
            "suite": "Everything",
            "name": "One mug",
            "file": "rules/all_test.yaml",
            "line": 6,
            "passed": False,
            "difference": "expected the outcome unfillable, got allocated: One mug",
            "evidence": ["everything decided (rules/all.yaml:3)", "dc: MUG: on hand 1, available 1, ships 1 of 1"],
        }
    ]


def test_github_marks_the_line_in_a_pull_request(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(folder)
    monkeypatch.chdir(folder.parent)

    assert run(Path("rules"), output_format="github") == 1
    assert capsys.readouterr().out.splitlines()[0] == (
        "::error file=rules/all_test.yaml,line=8,endLine=8,col=23,endColumn=32::"
        "expected the outcome unfillable, got allocated: One mug "
        "[test-failed]%0Aeverything decided (rules/all.yaml:3)%0Adc: MUG: on hand 1, available 1, ships 1 of 1"
    )


def test_github_paths_and_texts_cannot_end_an_annotation(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a,b:c%.yaml").write_text("kind: 100%\n")
    monkeypatch.chdir(folder)

    assert run(Path(), output_format="github") == 1
    place = "file=a%2Cb%3Ac%25.yaml,line=1,endLine=1,col=7,endColumn=10"
    assert capsys.readouterr().out.startswith(f"::error {place}::there is no kind of rule file '100%25'")


def test_the_current_folder_can_be_checked(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(folder)
    monkeypatch.chdir(folder)

    assert run(Path()) == 1
    assert capsys.readouterr().out.startswith("rules/all_test.yaml:8:23: ")


def test_an_untested_rule_fails_unless_it_is_allowed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "all_test.yaml").unlink()

    assert run(folder) == 1
    assert "no test makes the routing policy 'everything' fire [rule-untested]" in capsys.readouterr().out
    assert run(folder, allow_untested=True) == 0
    assert capsys.readouterr().out == (
        "1 rule in 1 file, 0 tests: 0 passed, 0 failed\n1 rule not covered by any test\n"
    )


def test_rules_with_problems_are_not_tested_but_their_suites_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "all.yaml").write_text(GOOD.replace("nearest", "nearst"))
    (folder / "all_test.yaml").write_text(SUITE.replace("suite:", "suit:"))

    assert run(folder) == 1
    out = capsys.readouterr().out
    assert "[unknown-step]" in out
    assert "a test suite has no key 'suit' [unknown-key]" in out
    assert out.endswith("3 problems in 1 file; no test ran\n")


@pytest.mark.parametrize("name", ["nowhere", "rules/all.yaml"])
def test_a_missing_folder_is_reported_in_one_sentence(folder: Path, name: str) -> None:
    with pytest.raises(UserError) as caught:
        run(folder.parent / name)

    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(f"there is no rules folder {folder.parent / name}; name an existing folder")


@pytest.mark.parametrize(
    "arguments", [["--format", "github"], ["--json"], ["--format", "json", "--allow-untested"], []]
)
def test_the_shipped_rules_pass_on_the_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", str(RULES), *arguments])

    assert ended.value.code == 0
    assert ", 0 failed" in capsys.readouterr().out


def test_an_unknown_format_is_wrong_usage(folder: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", str(folder), "--format", "xml"])

    assert ended.value.code == 2


def test_a_watched_folder_is_checked_at_every_save_until_ctrl_c(folder: Path) -> None:
    command = [sys.executable, "-m", "service", "check", str(folder), "--watch"]
    process = subprocess.Popen(
        command, cwd=RULES.parent, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )

    def next_summary(edit: Callable[[], object]) -> str:
        edit()
        assert process.stdout is not None
        return next(line for line in process.stdout if line.startswith(("1 rule", "1 problem")))

    try:
        assert next_summary(lambda: None) == "1 rule in 1 file, 1 test: 1 passed, 0 failed\n"
        assert next_summary(lambda: fail(folder)) == "1 rule in 1 file, 1 test: 0 passed, 1 failed\n"
        broken = next_summary(lambda: (folder / "all.yaml").write_text("kind: buffr"))
        assert broken == "1 problem in 1 file; no test ran\n"
        assert next_summary(lambda: (folder / "all.yaml").write_text(GOOD)) == (
            "1 rule in 1 file, 1 test: 0 passed, 1 failed\n"
        )
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert process.returncode == 130


def test_a_missing_folder_cannot_be_watched(folder: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", str(folder / "nowhere"), "--watch"])

    assert ended.value.code == 2


def test_hundreds_of_tests_run_in_seconds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, _, test = SUITE.partition("  - name: One mug")
    tests = (f"  - name: Mug {number}{test}" for number in range(500))
    (folder / "all_test.yaml").write_text(head + "".join(tests))
    started = time.process_time()

    assert run(folder) == 0
    assert time.process_time() - started < 5
    assert capsys.readouterr().out == "1 rule in 1 file, 500 tests: 500 passed, 0 failed\n"


def test_drafted_tests_are_written_into_new_files_and_pass(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "more.yaml").write_text(
        "kind: exposure\nname: more\nrules:\n  - {name: paused, when: {location.status: paused}, block: paused}\n"
    )
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert run(folder, draft_tests=True) == 0
    output = capsys.readouterr().out
    written = {path for path in folder.rglob("*") if path.is_file()} - before.keys()

    assert {path.name for path in written} == {"more_test.yaml"}
    assert "rules/more_test.yaml: 1 test drafted; each states what the rules do now, so look it over" in output
    assert all(path.read_bytes() == content for path, content in before.items())

    assert run(folder, draft_tests=True, output_format="json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["drafted"], report["undrafted"], report["untested_count"]) == ([], [], 0)


def test_nothing_is_drafted_for_rules_with_problems(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "more.yaml").write_text("kind: exposures\n")

    assert run(folder, draft_tests=True) == 1

    assert "no test was drafted: the rules have problems; correct them first" in capsys.readouterr().out


def test_drafts_that_cannot_be_written_are_reported(folder: Path) -> None:
    (folder / "more.yaml").write_text(
        "kind: exposure\nname: more\nrules:\n  - {name: paused, when: {location.status: paused}, block: paused}\n"
    )
    # Not a file, so that the check does not read it.
    (folder / "more_test.yaml").mkdir()

    with pytest.raises(UserError, match=r"more_test\.yaml cannot be written: File exists"):
        run(folder, draft_tests=True)
