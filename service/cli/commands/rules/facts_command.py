"""`truestock facts`: the facts that conditions of rules can compare."""

from __future__ import annotations

from typing import Annotated

import typer

from policies.facts.fact_table import FACTS, KNOWN, Fact
from policies.reading.condition_reader import OPERATORS
from policies.schema import glossary
from policies.source.rule_file import suggestion
from service.cli import options
from service.cli.console import UserError, add_row, count, new_table, print_json, say, stdout_console


def facts(
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="Only facts whose names start with this.")] = "",
    as_json: options.Json = False,
) -> None:
    """Lists the facts that conditions of rules can compare, and the comparisons that each allows.

    \b
    Examples:
      truestock facts
      truestock facts location
      truestock facts stock.age --json
    """
    listed = [fact for fact in FACTS.values() if fact.name.startswith(prefix)]
    if not listed:
        names = [*FACTS, *dict.fromkeys(fact.group for fact in FACTS.values())]
        raise UserError(f"there is no fact whose name starts with {prefix!r}. {suggestion(prefix, names)}".strip())
    if as_json:
        print_json([_as_dict(fact) for fact in listed])
        return
    console = stdout_console()
    table = new_table("fact", "values", "meaning", "available in")
    for fact in listed:
        add_row(
            table, fact.name, glossary.plain(glossary.value(fact)), fact.help, glossary.plain(glossary.places(fact))
        )
    console.print(table)
    comparisons = new_table("values", "comparisons")
    for type, operators in OPERATORS.items():
        if any(fact.type is type for fact in listed):
            add_row(comparisons, glossary.plain(glossary.VALUES[type]), ", ".join(operators))
    console.print(comparisons)
    say(f"{count(len(listed), 'fact')}. Rules can also test whether a fact is known, such as {listed[0].name}{KNOWN}.")


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
