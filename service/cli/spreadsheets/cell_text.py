"""The text of one cell: guards that spreadsheets need, and lists inside a cell. Each form is read and written here."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FORMULA = re.compile(r'="((?:[^"]|"")*)"')
_NUMBER_LIKE = re.compile(r"[-+]?[0-9][0-9.,:/ -]*")
_FORMULA_STARTS = "=@+-"
"""A spreadsheet computes what starts with one of these, and what it computes may call programs."""
_INVISIBLE = "\ufeff\u200b\u2060"
"""Marks without width that copied text has at its ends; str.strip leaves them, and takes all kinds of spaces."""
_GUARD_STARTS = "'=" + _INVISIBLE
LIST_SEPARATOR = "|"
_LIST_PART = re.compile(r"\\([|\\])|([|])|(\\|[^|\\]+)")


def stripped(cell: str) -> str:
    """A cell without spaces of any kind, and marks without width, around it."""
    return cell.strip().strip(_INVISIBLE).strip()


def plain(cell: str, *, free_text: bool) -> str:
    """The value of a cell, without the guard that kept a spreadsheet from changing it: `="0012"` and `'0012` are 0012.

    In free text, such as names, an apostrophe is a guard only before what a spreadsheet would change: `'90` is 90, and
    `'s-Hertogenbosch` is a town.
    """
    cell = cell.strip()
    if not cell or (cell[0] not in _GUARD_STARTS and cell[-1] not in _INVISIBLE):
        # Nearly every cell of a large file.
        return cell
    cell = stripped(cell)
    formula = _FORMULA.fullmatch(cell)
    if formula is not None:
        return stripped(formula[1].replace('""', '"'))
    rest = cell[1:]
    if (
        cell.startswith("'")
        and rest
        and (not free_text or rest[0] in f"'{_FORMULA_STARTS}" or _NUMBER_LIKE.fullmatch(rest))
    ):
        return stripped(rest)
    return cell


def guarded(value: str, *, free_text: bool) -> str:
    """The cell that is read as this value: itself, or with an apostrophe before what a spreadsheet would compute.

    So is what looks guarded already.
    """
    computed = value[:1] in tuple(_FORMULA_STARTS) and not _NUMBER_LIKE.fullmatch(value)
    return f"'{value}" if computed or plain(value, free_text=free_text) != value else value


def split_list(cell: str) -> list[str]:
    r"""The entries of a cell, separated by `|`; `\|` is a `|` inside an entry, and `\\` a backslash."""
    entries = [""]
    for escaped, separator, text in _LIST_PART.findall(cell):
        if separator:
            entries.append("")
        else:
            entries[-1] += escaped or text
    return [entry for entry in map(stripped, entries) if entry]


def join_list(entries: Iterable[str]) -> str:
    """The cell that `split_list` reads as these entries."""
    return LIST_SEPARATOR.join(entry.replace("\\", "\\\\").replace("|", "\\|") for entry in entries)
