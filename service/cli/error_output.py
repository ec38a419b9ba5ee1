"""How errors end a command: sentences on stderr for people, one JSON object there for programs."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from typing import Any

from service.cli.console import EXIT_USAGE, FieldProblem, UserError, say


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the command is asked for JSON, also if its arguments are otherwise wrong."""
    options = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    return "--json" in options or "--format=json" in options or ("--format", "json") in itertools.pairwise(options)


def print_error(error: UserError, *, as_json: bool) -> None:
    """Prints the error on stderr: its message, or on one line {"code", "message", "fields": [{"field", "problem"}]}."""
    if not as_json:
        say(str(error))
        return
    fields = [{"field": problem.field, "problem": problem.problem} for problem in error.fields]
    say(json.dumps({"code": error.code, "message": str(error), "fields": fields}, ensure_ascii=False))


def usage_error(error: Any) -> UserError:
    """Wrong usage, which typer found, as an error with the option or argument that it concerns."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    return UserError(
        message,
        code="USAGE",
        fields=[FieldProblem(field, message) for field in _fields(error, message)],
        exit_code=getattr(error, "exit_code", EXIT_USAGE),
    )


def _fields(error: Any, message: str) -> list[str]:
    parameter = getattr(error, "param", None)
    if parameter is not None:
        return [max(parameter.opts, key=len)]
    option = getattr(error, "option_name", None) or next(iter(re.findall(r"--[a-z][a-z-]*", message)), None)
    return [option] if option else []
