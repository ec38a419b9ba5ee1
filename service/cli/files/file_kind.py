"""What a kind of file is: its columns, how a row becomes a message, and how a message becomes a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

Cells = Mapping[str, Any]
"""The parsed values of one row's non-empty cells, by column."""


@dataclass(frozen=True, slots=True)
class CsvColumn:
    """A column: `read` turns a cell's text into a value, or raises ValueError with `problem; help`.

    `decimal` columns hold numbers with decimals, which some files write with a comma. `free_text` columns hold names,
    in which an apostrophe at the front is rarely the guard of a spreadsheet. `import_only` columns say in another way
    what an exported column says.
    """

    name: str
    read: Callable[[str], Any]
    help: str
    required: bool = False
    decimal: bool = False
    free_text: bool = False
    import_only: bool = False


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file. No two rows may have the same values in the `key` columns; `make` builds the message of one row.

    `make` raises ValueError for cells that contradict each other. `cells` is its reverse: the text of each column that
    is exported, in their order; what it leaves out is empty. `field_columns` maps fields of the message to the columns
    that they come from, if the names differ, so that an error of the service can name the column. `follow_up` is a
    second message of a row that is sent after the first, if there is one.
    """

    noun: str
    key: tuple[str, ...]
    columns: tuple[CsvColumn, ...]
    make: Callable[[Cells], Message]
    cells: Callable[[Any], dict[str, str]]
    field_columns: Mapping[str, str]
    follow_up: Callable[[Cells], Message | None] = lambda _: None
