"""Suites as YAML text, as a person would write them: short mappings on one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal

from policies.source.rule_file import number_text

MAX_WIDTH = 110
"""Characters up to which a mapping or list stays on one line."""

_PLAIN = re.compile(
    "[A-Za-z][A-Za-z0-9_./-]*|[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:]{8}Z)?|[0-9]{2}:[0-9]{2}|[1-9][0-9]*[mhd]"
)
_NULLS = ("null", "Null", "NULL")


def entry(key: str, value: object, indent: int) -> Iterator[str]:
    """The lines of one key: on one line if the value fits, else with a line for each of its own keys."""
    start = f"{' ' * indent}{scalar(key)}:"
    line = f"{start} {flow(value)}" if value != {} else start
    if len(line) <= MAX_WIDTH or not isinstance(value, Mapping):
        yield line
        return
    yield start
    for name, part in value.items():
        yield from entry(str(name), part, indent + 2)


def flow(value: object) -> str:
    """The value on one line."""
    match value:
        case Mapping():
            return f"{{{', '.join(f'{scalar(str(key))}: {flow(part)}' for key, part in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(map(flow, value))}]"
        case bool():
            return "true" if value else "false"
        case float():
            return number_text(value).replace(",", "") if value.is_integer() else f"{Decimal(repr(value)):f}"
        case int() | Decimal():
            return str(value)
        case _:
            return scalar(str(value))


def scalar(text: str) -> str:
    """A text that YAML reads as it is: plain where that is safe, else in quotes."""
    # Every text in JSON's quotes means the same in YAML's.
    is_plain = _PLAIN.fullmatch(text) is not None and text not in _NULLS
    return text if is_plain else json.dumps(text, ensure_ascii=False)
