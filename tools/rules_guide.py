"""Writes the parts of rules/README.md that come from the code: the table of facts and the list of problem codes.

`python -m tools.rules_guide` writes them; a test checks that they are current.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from policies.facts.fact_table import FACTS, Fact
from policies.linting import catalog_values
from policies.schema import glossary
from policies.source import problems
from policies.testing import suites

GUIDE = Path(__file__).parents[1] / "rules" / "README.md"


def main() -> None:
    """Writes the generated parts into the guide."""
    GUIDE.write_text(guide(GUIDE.read_text()))


def guide(text: str) -> str:
    """The guide with its generated parts replaced. Raises ValueError if the marks of a part are missing."""
    for name, part in PARTS.items():
        start_mark, end_mark = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, remaining = text.partition(start_mark)
        _, mark, after = remaining.partition(end_mark)
        if not mark:
            raise ValueError(f"the guide has no part between '{start_mark.strip()}' and '{end_mark}'; add the marks")
        text = f"{before}{start_mark}\n{part()}\n{end_mark}{after}"
    return text


def facts() -> str:
    """The table of facts, in Markdown."""
    rows = ["| fact | meaning | value | known in |", "|---|---|---|---|"]
    return "\n".join([*rows, *(_row(fact) for fact in FACTS.values())]) + "\n"


def codes() -> str:
    """A paragraph for each code of a problem, in Markdown."""
    meanings = {**problems.CODES, **suites.CODES, **catalog_values.CODES}
    return "\n\n".join(f"**`{code}`** {meanings[code]}" for code in sorted(meanings)) + "\n"


def _row(fact: Fact) -> str:
    return f"| `{fact.name}` | {fact.help} | {glossary.value(fact)} | {glossary.places(fact)} |"


PARTS: Mapping[str, Callable[[], str]] = {"facts": facts, "codes": codes}
"""The generated parts by the name in their marks."""

if __name__ == "__main__":
    main()
