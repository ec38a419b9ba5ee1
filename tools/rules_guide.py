"""Writes the parts of rules/README.md that come from the code: the table of facts and the list of problems.

`python -m tools.rules_guide` writes them anew; a test keeps them in step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from policies import problems, suites
from policies.facts import EVERYWHERE, FACTS, Fact, FactType, Place

GUIDE = Path(__file__).parents[1] / "rules" / "README.md"

_PLACES = {
    Place.EXPOSURE: "exposure",
    Place.LOCATION_BUFFER: "buffers of a location",
    Place.CHANNEL_BUFFER: "buffers of a channel",
    Place.APPLIES_TO: "`applies_to`",
    Place.CANDIDATE: "`only`, `exclude`, `prefer`",
    Place.REVIEW: "`review`",
}
_VALUES = {
    FactType.TEXT: "a word",
    FactType.NUMBER: "a number",
    FactType.FLAG: "`true` or `false`",
    FactType.TEXTS: "tags",
}


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
    known = (
        "everywhere" if fact.places == EVERYWHERE else ", ".join(_PLACES[one] for one in Place if one in fact.places)
    )
    return f"| `{fact.name}` | {fact.help} | {_value(fact)} | {known} |"


def _value(fact: Fact) -> str:
    if fact.allowed:
        return ", ".join(f"`{word}`" for word in fact.allowed)
    return f"{_VALUES[fact.type]} ({fact.unit})" if fact.unit else _VALUES[fact.type]


PARTS: Mapping[str, Callable[[], str]] = {"facts": facts, "codes": codes}
"""The generated parts by the name in their marks."""

if __name__ == "__main__":
    main()
