"""How the command line prints: tables and JSON on stdout, messages and progress on stderr."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from service.cli.tables import ListTable

UNKNOWN_WIDTH = 100_000
"""Line width in characters when stdout is no terminal and COLUMNS is not set: rows stay whole, on one line each."""

EXIT_FAILED, EXIT_USAGE = 1, 2
EXIT_INTERRUPTED = 130
"""The exit code that shells expect of a program stopped with Ctrl-C."""
EXIT_UNKNOWN = 3
"""The exit code of a command that answered what it could, and was asked about names that the catalog does not have."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field of a request, one option, or one place of a file (`products.csv:3:2`)."""

    field: str
    problem: str


class UserError(Exception):
    """An error that the person at the terminal has to fix; the message is ready to print.

    `code` names it for programs: a reason of the API such as NOT_FOUND, or one of the command line such as USAGE.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "FAILED",
        fields: Iterable[FieldProblem] = (),
        exit_code: int = EXIT_FAILED,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.fields = tuple(fields)
        self.exit_code = exit_code


def stdout_console() -> Console:
    """A new console for the current stdout, which tests and pipes replace. COLUMNS sets its width, also in a pipe."""
    is_width_known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return Console(width=None if is_width_known else UNKNOWN_WIDTH, highlight=False, soft_wrap=False)


def say(*sentences: str) -> None:
    """Prints sentences on stderr, unwrapped and without markup."""
    for sentence in sentences:
        print(sentence, file=sys.stderr)


def print_json(value: object) -> None:
    """Prints one JSON object or array on stdout; protobuf messages have the field names of the API."""
    print(json.dumps(json_value(value), indent=2, ensure_ascii=False))


def print_line(text: str) -> None:
    """Prints one line on stdout, at once; on a narrow terminal it wraps between words, in a pipe it stays one line."""
    print(fitted(text) if sys.stdout.isatty() else text, flush=True)


def fitted(line: str) -> str:
    """A line that wraps between words where stdout is narrower, with the lines that follow indented."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    width = max(stdout_console().width, len(indent) + 1)
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def print_json_line(value: object) -> None:
    """Prints one JSON object on one line of stdout, at once."""
    print(json.dumps(json_value(value), ensure_ascii=False), flush=True)


def progress_bar(noun: str) -> Progress:
    """A progress bar on stderr, shown only on a terminal; `noun` names what it counts, such as `orders`."""
    stderr = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(noun),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True)


def new_table(*columns: str, numbers: Sequence[str] = (), title: str | None = None) -> Table:
    """An empty table; the columns named in `numbers` are aligned right."""
    table = ListTable(title=title)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left")
    return table


def add_row(table: Table, *cells: object) -> None:
    """Adds a row. Cells are plain text without rich's markup, so `[red]` in a name is printed as it is."""
    table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in cells))


def format_time(moment: Timestamp) -> str:
    """A time in UTC, such as `2026-11-27 09:00:00Z`; `-` if the timestamp is not set."""
    if not moment.seconds and not moment.nanos:
        return "-"
    return moment.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def format_age(moment: Timestamp, now: datetime | None = None) -> str:
    """The time since `moment` in one unit, such as `12 min`; `-` if the timestamp is not set."""
    if not moment.seconds and not moment.nanos:
        return "-"
    seconds = max(0.0, ((now or datetime.now(UTC)) - moment.ToDatetime(UTC)).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def format_ago(moment: Timestamp, unset: str = "-") -> str:
    """The age followed by `ago`, such as `12 min ago`; `unset` if the timestamp is not set."""
    return f"{format_age(moment)} ago" if moment.seconds or moment.nanos else unset


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun in singular or plural: `1 unit`, `1,200 units`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def enum_word(enum: Any, number: int, prefix: str) -> str:
    """A value of an enum of the API in words: `OUTCOME_PARTLY_ALLOCATED` is `partly allocated`.

    A newer service may answer with one that this version does not know.
    """
    if number not in enum.values():
        return f"unknown ({number})"
    name: str = enum.Name(number)
    return name.removeprefix(prefix).replace("_", " ").lower()


def first_lines(problems: Iterable[object], limit: int) -> list[str]:
    """The first `limit` problems as text, then a line that counts the others."""
    texts = [str(problem) for problem in problems]
    more = len(texts) - limit
    return texts if more <= 0 else [*texts[:limit], f"… and {more:,} more"]


def json_value(value: object) -> Any:
    """A value that `json` can write; protobuf messages have the field names of the API."""
    if isinstance(value, Message):
        values = MessageToDict(value, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        return _with_counts_as_numbers(value.DESCRIPTOR, values)
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    return value


def _with_counts_as_numbers(message: Any, values: Any) -> Any:
    """Protobuf writes 64-bit numbers as text; those that count something become numbers, like all other counts."""
    if not isinstance(values, dict):
        return values
    for field in message.fields:
        if field.name not in values:
            continue
        if field.message_type is not None:
            parts = values[field.name]
            for part in parts if isinstance(parts, list) else [parts]:
                _with_counts_as_numbers(field.message_type, part)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_INT64 and f"_{field.name}".endswith("_count"):
            values[field.name] = int(values[field.name])
    return values
