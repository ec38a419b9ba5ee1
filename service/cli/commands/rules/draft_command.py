"""`truestock check --draft-tests`: writes a test for each rule that has none, into new files beside the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from policies.reading.rules_reader import read
from policies.source.problems import Source
from policies.testing.drafts import UndraftedRule, draft_tests
from policies.testing.suites import run_suites
from service.cli.console import UserError, count


@dataclass(frozen=True, slots=True)
class DraftReport:
    """Tests drafted by file, the rules for which none could be drafted, and why none at all, if so."""

    test_counts: Mapping[str, int]
    undrafted: tuple[UndraftedRule, ...]
    obstacle: str = ""

    def lines(self) -> list[str]:
        """The report as text."""
        lines = [
            f"{file}: {count(number, 'test')} drafted; each states what the rules do now, so look it over"
            for file, number in self.test_counts.items()
        ]
        lines += [
            f"{entry.rule.source}: no test drafted for {entry.rule.title}: {entry.reason}" for entry in self.undrafted
        ]
        if not lines:
            lines.append(f"no test was drafted: {self.obstacle or 'every rule has one'}")
        return lines

    def as_dict(self) -> dict[str, object]:
        """The report as values for JSON."""
        undrafted = [
            {
                "rule": entry.rule.name,
                "file": entry.rule.source.file,
                "line": entry.rule.source.line,
                "reason": entry.reason,
            }
            for entry in self.undrafted
        ]
        drafted = [{"file": file, "test_count": number} for file, number in self.test_counts.items()]
        return {"drafted": drafted, "undrafted": undrafted, "obstacle": self.obstacle}


def write_drafts(files: Mapping[str, bytes], parent: Path) -> DraftReport:
    """Drafts tests for the untested rules among `files`, and writes them to new files, by paths from `parent`.

    Raises UserError if a file cannot be written; files that exist are never changed.
    """
    policy_set = read(files).policy_set
    if policy_set is None:
        return DraftReport({}, (), "the rules have problems; correct them first")
    report = run_suites(policy_set, files)
    if any(problem.code not in ("rule-untested", "test-failed") for problem in report.problems):
        return DraftReport({}, (), "the tests have problems, and may cover any rule; correct them first")
    untested = {
        Source(problem.file, problem.line, problem.column)
        for problem in report.problems
        if problem.code == "rule-untested"
    }
    drafts = draft_tests(policy_set, files, untested)
    for file, text in drafts.suites.items():
        try:
            with (parent / file).open("x", encoding="utf-8") as new:
                new.write(text)
        except OSError as error:
            raise UserError(f"{parent / file} cannot be written: {error.strerror}") from error
    return DraftReport({file: text.count("\n  - name: ") for file, text in drafts.suites.items()}, drafts.undrafted)
