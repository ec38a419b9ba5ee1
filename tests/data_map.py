"""The data map of SECURITY.md: the columns that may hold personal data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from service.database.tables import metadata

SECURITY = Path(__file__).parents[1] / "SECURITY.md"
ANY_TABLE = "any table"
_ROW = re.compile(r"^\| (?P<where>[^|]+) \|")
_PLACE = re.compile(rf"`?(?P<table>{ANY_TABLE}|[a-z_]+)`?: (?P<columns>`[a-z_]+`(?:, `[a-z_]+`)*)")


def named() -> Iterator[tuple[str, str]]:
    """The tables and columns that the map names; the table is ANY_TABLE where a column is personal in each."""
    text = SECURITY.read_text().partition("### Data map\n")[2].partition("\n#")[0]
    for line in text.splitlines():
        row = _ROW.match(line)
        for place in _PLACE.finditer(row["where"]) if row else ():
            for column in re.findall("`([a-z_]+)`", place["columns"]):
                yield place["table"], column


def personal_columns() -> set[tuple[str, str]]:
    """The columns of the schema that the map names."""
    names = set(named())
    columns = {(table.name, column.name) for table in metadata.sorted_tables for column in table.columns}
    return {(table, column) for table, column in columns if {(table, column), (ANY_TABLE, column)} & names}
