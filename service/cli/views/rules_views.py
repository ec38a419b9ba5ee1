"""The rules of a service, and the revisions that it keeps."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from policies.source.problems import terminal_safe
from service.cli.console import add_row, format_time, new_table, print_line
from truestock.v1.policy_service_pb2 import GetPolicySetResponse, PolicyRevision

PERIODS_SHOWN = 3


def print_rules(response: GetPolicySetResponse) -> None:
    """Prints rule files, each below its path."""
    print_line(f"Rules {response.policy_revision}: {_state(response.revision)}")
    for file in response.files:
        print_line(f"\n# {terminal_safe(file.path)}")
        for line in file.content.decode(errors="replace").splitlines():
            print_line(terminal_safe(line.replace("\t", " ")))


def print_revisions(console: Console, revisions: Sequence[PolicyRevision], *, candidates: bool) -> None:
    """Prints the revisions, and for those that were in force the latest times and services."""
    if not revisions:
        console.print(
            "No candidate is kept; `truestock rules test FOLDER` sends one." if candidates else "None is kept."
        )
        return
    periods = () if candidates else ("in force",)
    table = new_table("revision", "state", "first seen", "files", "bytes", *periods, numbers=("files", "bytes"))
    for revision in revisions:
        row = [revision.policy_revision, _state(revision), format_time(revision.create_time)]
        figures = [f"{revision.file_count:,}", f"{revision.byte_count:,}"]
        add_row(table, *row, *figures, *([] if candidates else [_periods(revision)]))
    console.print(table)


def _state(revision: PolicyRevision) -> str:
    if revision.in_force:
        return "in force"
    kind = "candidate" if revision.candidate else "earlier"
    return f"{kind}, kept until {format_time(revision.expire_time)}"


def _periods(revision: PolicyRevision) -> str:
    shown = [
        f"{period.instance} {format_time(period.from_time)} to "
        f"{format_time(period.until_time) if period.HasField('until_time') else 'now'}"
        for period in revision.periods[:PERIODS_SHOWN]
    ]
    more = ["…"] if len(revision.periods) > PERIODS_SHOWN else []
    return "; ".join([*shown, *more]) or "-"
