"""What the command line prints: tables and JSON on stdout, sentences and progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 240
"""Characters a line may have where no terminal says how wide it is: tables in files and pipes are not folded."""


class UserError(Exception):
    """Something that the person at the terminal has to mend; its text is fit to print."""


def output() -> Console:
    """A console for stdout, made anew because tests and pipes change what stdout is."""
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    return Console(width=width, highlight=False, soft_wrap=False)


def say(*sentences: str) -> None:
    """Prints sentences on stderr, unwrapped and without markup."""
    for sentence in sentences:
        print(sentence, file=sys.stderr)


def print_json(value: object) -> None:
    """Prints one JSON object or array on stdout; protobuf messages with the field names of the contract."""
    print(json.dumps(plain(value), indent=2, ensure_ascii=False))


def print_line(text: str) -> None:
    """Prints one line on stdout, at once."""
    print(text, flush=True)


def print_json_line(value: object) -> None:
    """Prints one JSON object on one line of stdout, at once."""
    print(json.dumps(plain(value), ensure_ascii=False), flush=True)


def progress(what: str) -> Progress:
    """A progress bar on stderr that shows only on a terminal; `what` is the noun of its count, such as `orders`."""
    stderr = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(what),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True)


def table(*columns: str, numbers: Sequence[str] = (), title: str | None = None) -> Table:
    """An empty table; the columns named in `numbers` are aligned right."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        # Folding keeps every character of an id on a narrow terminal; an ellipsis would lose some.
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def row(made: Table, *cells: object) -> None:
    """Adds a row; cells are printed as they are, without rich's markup, so `[red]` in a name stays text."""
    made.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in cells))


def clock(moment: Timestamp) -> str:
    """A time in UTC, such as `2026-11-27 09:00:00Z`; `-` where the message has none."""
    if not moment.seconds and not moment.nanos:
        return "-"
    return moment.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def age(moment: Timestamp, now: datetime | None = None) -> str:
    """How long ago, coarsely, such as `12 min`; `-` where the message has no time."""
    if not moment.seconds and not moment.nanos:
        return "-"
    seconds = max(0.0, ((now or datetime.now(UTC)) - moment.ToDatetime(UTC)).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: `1 unit`, `1,200 units`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def enum_word(name: str, prefix: str) -> str:
    """The word a person reads for an enum value: `OUTCOME_PARTLY_ALLOCATED` is `partly allocated`."""
    return name.removeprefix(prefix).replace("_", " ").lower()


def listed(problems: Iterable[object], limit: int) -> list[str]:
    """The first `limit` problems as text, and how many more there are."""
    texts = [str(problem) for problem in problems]
    more = len(texts) - limit
    return texts if more <= 0 else [*texts[:limit], f"… and {more:,} more"]


def plain(value: object) -> Any:
    """A value as JSON has it; protobuf messages with the field names of the contract."""
    if isinstance(value, Message):
        return MessageToDict(value, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
