"""Settings of a service or a database, from the flags of a command and the environment, and what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import typer

from policies.source.problems import quoted
from policies.source.rule_file import number_text

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from service.settings import Settings

_EITHER_FLAG = ({"database_url", "database_url_file"}, {"read_database_url", "read_database_url_file"})
_TYPES = {
    "bool_parsing": "true or false",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "string_pattern_mismatch": "an address such as http://127.0.0.1:4317",
}
"""What a setting must be, by pydantic's name of the problem; only one setting has a pattern."""


def settings_of(**given: object) -> Settings:
    """Settings from the given flags; the environment and the defaults set the others. Raises BadParameter."""
    from pydantic import ValidationError

    from service.settings import Settings

    flags = {name: value for name, value in given.items() if value is not None}
    for names in _EITHER_FLAG:
        if len(names & flags.keys()) == 1:
            # The flag that names the database overrides both variables that may name one.
            flags = dict.fromkeys(names) | flags
    empty = [variable for name in Settings.model_fields if name not in flags for variable in _empty_variables(name)]
    if empty:
        # An empty path would be the current folder, and an empty URL of a database the embedded one.
        raise typer.BadParameter("; ".join(f"{name} is empty; give it a value, or unset it" for name in empty))
    try:
        return Settings(**flags)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise typer.BadParameter("; ".join(_problem(problem, flags) for problem in problems)) from error


def _variables(name: str) -> tuple[str, ...]:
    """The variables that set a setting, the first that is set before the others."""
    variable = f"TRUESTOCK_{name.upper()}"
    return (variable, "DATABASE_URL") if name == "database_url" else (variable,)


def _empty_variables(name: str) -> list[str]:
    return [variable for variable in _variables(name) if os.environ.get(variable, "x") == ""]


def _problem(problem: ErrorDetails, flags: Mapping[str, object]) -> str:
    """What is wrong with a setting, by the name under which it was given. The URL of a database is not repeated."""
    said = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return said
    name = str(problem["loc"][0])
    set_by = [variable for variable in _variables(name) if variable in os.environ]
    named = f"--{name.replace('_', '-')}" if name in flags or not set_by else set_by[0]
    if problem["type"] == "value_error":
        return f"{named} {said}"
    return f"{named} is {quoted(str(problem['input']))}; it must be {_expected(name, problem['type'])}"


def _expected(name: str, problem: str) -> str:
    """What the value of a setting must be, such as `a whole number from 1 to 64`."""
    from service.settings import Settings

    field = Settings.model_fields[name]
    if get_origin(field.annotation) is Literal:
        return f"one of: {', '.join(get_args(field.annotation))}"
    bounds: dict[str, Any] = {
        kind: getattr(part, kind)
        for part in field.metadata
        for kind in ("ge", "gt", "le", "min_length", "max_length")
        if hasattr(part, kind)
    }
    if "max_length" in bounds:
        return f"a text of {bounds['min_length']} to {bounds['max_length']} characters"
    if "le" not in bounds:
        return _TYPES[problem]
    number = "a whole number" if field.annotation is int else "a number"
    high = number_text(bounds["le"])
    if "gt" in bounds:
        return f"{number} above {number_text(bounds['gt'])}, at most {high}"
    return f"{number} from {number_text(bounds['ge'])} to {high}"
