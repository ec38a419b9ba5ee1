"""Prints what the commands of connectors show."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from service.channels.adapter import Check
from service.channels.mapping import Match, Proposal
from service.cli.connectors.inbox_calls import AccountStatus, InboxEntry
from service.cli.console import add_row, count, new_table, say, stdout_console
from service.cli.files.csv_export import whole_file
from service.cli.files.mapping_file import write_proposals


def print_checks(checks: Sequence[Check]) -> None:
    """What works, and what a person has to do."""
    table = new_table("what", "works", "to do")
    for check in checks:
        add_row(table, check.what, "yes" if check.works else "no", check.todo)
    stdout_console().print(table)


def print_status(accounts: Sequence[AccountStatus]) -> None:
    """One row for each account."""
    numbers = ("waiting", "unmapped", "parked")
    table = new_table("account", "channel", "state", "heard", "polled", *numbers, "token ends", numbers=numbers)
    for one in accounts:
        state = f"{one.state}: {one.pause_reason}" if one.pause_reason else one.state
        counts = (one.waiting_count, one.unmapped_count, one.parked_count)
        times = (_time(one.delivery_time), _time(one.poll_time))
        add_row(table, one.account, one.channel_id, state, *times, *counts, _time(one.token_expire_time))
    stdout_console().print(table)


def print_inbox(entries: Sequence[InboxEntry]) -> None:
    """One row for each entry."""
    table = new_table("account", "kind", "id", "state", "hinted", "attempts", "failure", numbers=("attempts",))
    for entry in entries:
        time = _time(entry.first_hint_time)
        add_row(
            table, entry.account, entry.kind, entry.entity_id, entry.state, time, entry.attempt_count, entry.failure
        )
    stdout_console().print(table)
    if not entries:
        say("Nothing waits.")


def print_entries(entries: Sequence[InboxEntry]) -> None:
    """Everything about entries."""
    table = new_table("entry", "")
    for entry in entries:
        for name, value in entry.as_dict().items():
            add_row(table, name.replace("_", " "), "" if value is None else value)
    stdout_console().print(table)


def proposal_dict(proposal: Proposal) -> dict[str, Any]:
    """A proposal for `--json`."""
    return {
        "what": proposal.what,
        "external_id": proposal.external_id,
        "external_name": proposal.external_name,
        "truestock_id": proposal.truestock_id,
        "unit_count": proposal.unit_count,
        "match": proposal.match,
        "reason": proposal.reason,
    }


def write_mapping(proposals: Sequence[Proposal], output: Path) -> None:
    """Writes the file, and says what is left to do."""
    if str(output) == "-":
        write_proposals(sys.stdout, proposals)
    else:
        with whole_file(output) as stream:
            write_proposals(stream, proposals)
    counts = {match: sum(p.match is match for p in proposals) for match in Match}
    open_count = count(counts[Match.NONE], "row")
    say(f"{counts[Match.MAPPED]} mapped already, {counts[Match.EXACT]} exact; {open_count} for a person to fill in.")


def _time(time: datetime | None) -> str:
    return "never" if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
