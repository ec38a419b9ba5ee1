"""Writes the parts of rules/README.md that come from the code: the table of facts and the list of problems.

`python -m tools.rules_guide` writes them anew; a test keeps them in step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from policies.facts.fact_table import FACTS, Fact
from policies.schema import glossary
from policies.source import problems
from policies.testing import suites

GUIDE = Path(__file__).parents[1] / "rules" / "README.md"


def main() -> None:
    """Writes the generated parts into the guide."""
    GUIDE.write_text(guide(GUIDE.read_text()))


def guide(text: str) -> str:
    """The guide with its generated parts as the code now has them. Raises ValueError where their marks are missing."""
    for name, part in PARTS.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, mark, after = rest.partition(end)
        if not mark:
            raise ValueError(f"the guide has no part between '{begin.strip()}' and '{end}'")
        text = f"{before}{begin}\n{part()}\n{end}{after}"
    return text


def facts() -> str:
    """The table of facts, in Markdown."""
    rows = ["| fact | says | is | known in |", "|---|---|---|---|"]
    return "\n".join([*rows, *(_row(fact) for fact in FACTS.values())]) + "\n"


def codes() -> str:
    """A paragraph for each code of a problem, in Markdown."""
    known = {**problems.CODES, **suites.CODES}
    return "\n\n".join(f"**`{code}`** {known[code]}" for code in sorted(known)) + "\n"


def _row(fact: Fact) -> str:
    return f"| `{fact.name}` | {fact.help} | {glossary.value(fact)} | {glossary.places(fact)} |"


PARTS: Mapping[str, Callable[[], str]] = {"facts": facts, "codes": codes}
"""The generated parts by the name in their marks."""

if __name__ == "__main__":
    main()
