"""What imports of all kinds of files share: batches of rows, errors of the service by line, and the report."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from service import limits
from service.cli.client import ServiceError
from service.cli.files.import_file import ImportFile, Record
from service.cli.spreadsheets.csv_table import CsvError, CsvProblem

BATCH_BYTES = limits.REQUEST_BYTES * 8 // 10
"""Maximum size of the records in one call, which leaves room for the other fields of the request."""

Advance = Callable[[int], None]
"""Called with the number of rows finished since the last call."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The result of an import: `created` and `updated` of records, or the fields from `accepted` on of a stock file.

    `computed` are rows taken as written by a program, `by_default` those taken as counted by a person because nothing
    says who wrote them.
    """

    file: str
    kind: str
    rows: int
    created: int = 0
    updated: int = 0
    accepted: int = 0
    duplicates: int = 0
    observed: int = 0
    computed: int = 0
    by_default: int = 0
    stale: tuple[CsvProblem, ...] = ()
    quarantined: tuple[CsvProblem, ...] = ()
    dropped: int = 0
    """Quarantined changes of earlier imports that were dropped to make room for those of this one."""

    def as_dict(self) -> dict[str, object]:
        """The report for `--json`."""
        counts = {"file": self.file, "kind": self.kind, "rows": self.rows}
        if self.kind != "stock":
            return counts | {"created_count": self.created, "updated_count": self.updated}
        return counts | {
            "accepted_count": self.accepted,
            "duplicate_count": self.duplicates,
            "observed_count": self.observed,
            "computed_count": self.computed,
            "stale_count": len(self.stale),
            "quarantined_count": len(self.quarantined),
            "dropped_count": self.dropped,
        }


def batches(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Records in the order of the file, in batches as large as one call allows."""
    batch: list[Record] = []
    size = 0
    for record in records:
        record_bytes = record.message.ByteSize() + 100
        if batch and (len(batch) == limits.UPSERTS or size + record_bytes > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += record_bytes
    if batch:
        yield batch


def located_error(error: ServiceError, file: ImportFile, batch: Sequence[Record]) -> Exception:
    """The service's error about `products[3].price` as an error of that line of the file; else the error unchanged."""
    problems: list[CsvProblem] = []
    for violation in error.violations:
        match = re.fullmatch(r"[a-z_]+\[([0-9]+)\]\.?(.*)", violation.field)
        if match is None or int(match[1]) >= len(batch):
            return error
        field = re.sub(r"\[[0-9]+\]", "", match[2])
        column = file.kind.field_columns.get(field, file.kind.field_columns.get(field.split(".")[0], field))
        problems.append(file.table.problem(batch[int(match[1])].line, column, violation.description))
    return CsvError(problems) if problems else error
