"""`truestock rules`: rules on a service, kept or to try."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.cli.main import main
from service.policy import rule_tests

ROUTING = "kind: routing\npolicies: [{name: a, position: 1, rank: [nearest]}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "new-rules"
    (folder / "routing").mkdir(parents=True)
    (folder / "routing" / "all.yaml").write_text(ROUTING)
    return folder


@pytest.fixture
def _no_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_tests, "START_SECONDS", 3_600.0)


@pytest.mark.usefixtures("_no_other_tests")
def test_a_folder_is_tested_kept_listed_and_saved(
    server_address: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as caught:
            main([*arguments, "--server", server_address])
        code = caught.value.code
        return code if isinstance(code, int) else 0, capsys.readouterr().out

    code, output = run("rules", "test", str(folder), "--json")
    revision = json.loads(output)["policy_revision"]
    assert (code, len(revision)) == (0, 16)
    assert revision in run("rules", "revisions", "--candidates")[1]
    assert "in force" in run("rules", "revisions")[1]
    saved = tmp_path / "saved"
    assert run("rules", "show", revision, "--save", str(saved))[0] == 0
    assert (saved / "routing" / "all.yaml").read_text() == ROUTING
    assert run("rules", "show", revision, "--save", str(saved))[0] == 1
    assert "position: 1" in run("rules", "show", revision)[1]

    (folder / "routing" / "all.yaml").write_text(ROUTING.replace("nearest", "nearst"))
    code, output = run("rules", "test", str(folder))
    assert code == 1
    assert f"       | {' ' * 41}^^^^^^" in output.splitlines()
    assert "not kept as a candidate" in output


def test_a_candidate_only_previews(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["allocate", "--channel", "web", "--order", "1", "--line", "A:1", "--candidate", "x", "--json"])

    assert caught.value.code == 2
    assert "--dry-run" in capsys.readouterr().err
