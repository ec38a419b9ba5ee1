"""`truestock facts`: what the conditions of rules can ask about."""

from __future__ import annotations

from typing import Annotated

import typer

from policies.facts.fact_table import FACTS, KNOWN, Fact
from policies.reading.condition_reader import OPERATORS
from policies.schema import glossary
from policies.source.rule_file import suggestion
from service.cli import options
from service.cli.console import UserError, count, output, print_json, row, say, table


def facts(
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="Only facts whose names begin so.")] = "",
    as_json: options.Json = False,
) -> None:
    """Lists the facts that conditions of rules can ask about, and how they are compared.

    \b
    Examples:
      truestock facts
      truestock facts location
      truestock facts stock.age --json
    """
    found = [fact for fact in FACTS.values() if fact.name.startswith(prefix)]
    if not found:
        known = [*FACTS, *dict.fromkeys(fact.group for fact in FACTS.values())]
        raise UserError(f"there is no fact whose name begins with {prefix!r}. {suggestion(prefix, known)}".strip())
    if as_json:
        print_json([_as_dict(fact) for fact in found])
        return
    console = output()
    made = table("fact", "is", "says", "known in")
    for fact in found:
        row(made, fact.name, glossary.plain(glossary.value(fact)), fact.help, glossary.plain(glossary.places(fact)))
    console.print(made)
    compared = table("what is", "is compared with")
    for type, operators in OPERATORS.items():
        if any(fact.type is type for fact in found):
            row(compared, glossary.plain(glossary.VALUES[type]), ", ".join(operators))
    console.print(compared)
    say(f"{count(len(found), 'fact')}. Of each, such as {found[0].name}{KNOWN}, rules can ask whether it is known.")


def _as_dict(fact: Fact) -> dict[str, object]:
    return {
        "name": fact.name,
        "type": fact.type.value,
        "help": fact.help,
        "unit": fact.unit,
        "allowed": list(fact.allowed),
        "comparisons": list(glossary.comparisons(fact)),
        "places": [place.name.lower() for place in sorted(fact.places, key=list(glossary.PLACES).index)],
    }
