"""Commands on decisions and lists of orders: replay-decision, orders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from policies.reading.rules_reader import is_rule_file
from policies.source.problems import Problem
from service.cli import list_options, options, unknown_names
from service.cli.client import Client, call
from service.cli.console import (
    UserError,
    add_row,
    enum_word,
    format_time,
    new_table,
    print_json,
    progress_bar,
    say,
    stdout_console,
)
from service.cli.listed_entries import matching, say_more
from service.cli.replay_summary import ReplaySummary
from service.cli.views.replay_summary_view import print_replay
from service.policy.rules_folder import problems_text, read_folder
from truestock.v1.allocation_service_pb2 import Allocation, ListAllocationsRequest
from truestock.v1.order_pb2 import OrderStatus, Outcome
from truestock.v1.policy_service_pb2 import (
    CandidateFile,
    ReplayDecisionRequest,
    ReplayDecisionResponse,
    ReplayDecisionsRequest,
    ReplayDecisionsResponse,
)

MOST_DECISIONS = 100_000
"""Decisions that one command replays at most."""
REPLAY_PAGE = 500
REPLAY_CALL_SECONDS = 90.0
"""A page waits for others, then takes seconds of computing."""

_OUTCOMES = options.enum_words(Outcome, "OUTCOME_")
_STATUSES = options.enum_words(OrderStatus, "ORDER_STATUS_")
_STATES = {enum_word(Allocation.State, number, "STATE_"): number for number in Allocation.State.values() if number}


def replay_decision(
    decision: Annotated[
        str, typer.Argument(metavar="[DECISION]", help="The decision's id; `truestock explain` lists it.")
    ] = "",
    rules: Annotated[
        Path | None, typer.Option("--rules", metavar="FOLDER", help="Rules to try in place of those of the decision.")
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="AGE|TIME", help="With --rules: all decisions since then, such as 1d.")
    ] = "",
    until: Annotated[
        str, typer.Option("--until", metavar="AGE|TIME", help="With --since: only decisions before then.")
    ] = "",
    channel: Annotated[
        list[str] | None, typer.Option("--channel", help="With --since: only this channel; repeatable.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=MOST_DECISIONS, help="With --since: maximum number of decisions.")
    ] = 10_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Re-runs stored decisions with their original inputs: by their own rules, or by rules to try.

    Without --rules it re-runs one decision by its own rules and reports whether
    the result is identical; the exit code is 1 if it differs.

    With --rules it shows what the rules in a folder would have changed: units
    by location, shortages, reviews and outcomes. Each decision is taken by
    itself: units that would have gone elsewhere change no later decision.
    Exception rules play no part. The rules in force are unchanged.

    \b
    Examples:
      truestock replay-decision 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
      truestock replay-decision 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 \\
        --rules new-rules
      truestock replay-decision --rules new-rules --since 1d
      truestock replay-decision --rules new-rules --since 2026-11-27T00:00Z \\
        --until 2026-11-28T00:00Z --channel tiktok_shop --json
    """
    if not decision and (rules is None or not since):
        raise typer.BadParameter("name a DECISION, or try rules on many with --rules FOLDER --since 1d")
    if decision and (since or until or channel):
        raise typer.BadParameter("name one DECISION or many with --since, not both")
    if rules is None:
        _replay_with_own_rules(decision, server, as_json)
    request = ReplayDecisionsRequest(
        files=_rule_files(rules),
        decision_id=options.decision_id(decision) if decision else "",
        since_time=options.past_time(since, "--since"),
        until_time=options.past_time(until, "--until"),
        channel_ids=channel or [],
    )
    _replay_with(request, limit, server, as_json)


def _replay_with_own_rules(decision: str, server: str, as_json: bool) -> NoReturn:
    request = ReplayDecisionRequest(decision_id=options.decision_id(decision))

    async def ask(client: Client) -> ReplayDecisionResponse:
        return await client.ask(client.policies.ReplayDecision, request)

    response = call(server, ask)
    if as_json:
        print_json(response)
    else:
        stdout_console().print(_replay_result(response))
    raise typer.Exit(0 if response.identical else 1)


def _rule_files(folder: Path) -> list[CandidateFile]:
    """The rule files of a folder, without its test suites."""
    if not folder.is_dir():
        raise UserError(f"there is no rules folder {folder}; name an existing folder with --rules")
    contents = read_folder(folder.absolute())
    if contents.problems:
        raise UserError(problems_text(tuple(contents.problems), contents.files).rstrip())
    files = [
        CandidateFile(path=path, content=content) for path, content in contents.files.items() if is_rule_file(path)
    ]
    if not files:
        raise UserError(f"{folder} has no rule files; name a folder of rules with --rules")
    return files


def _replay_with(request: ReplayDecisionsRequest, limit: int, server: str, as_json: bool) -> None:
    """Compares page by page and prints the summary."""

    async def ask(client: Client) -> tuple[ReplaySummary, int]:
        client.call_seconds = REPLAY_CALL_SECONDS
        return await _compare(client, request, limit)

    summary, total_count = call(server, ask)
    if as_json:
        print_json({**summary.as_dict(), "selected_count": total_count})
    elif not summary.count:
        stdout_console().print("No stored decision matches.")
    else:
        print_replay(stdout_console(), summary)
    if summary.count < total_count:
        shown = f"{summary.count:,} of {total_count:,} decisions"
        say(f"Only the oldest {shown}; raise --limit or narrow the time for others.")


async def _compare(client: Client, request: ReplayDecisionsRequest, limit: int) -> tuple[ReplaySummary, int]:
    """The summary of at most `limit` decisions, and how many the filters select."""
    summary, total_count = ReplaySummary(), 0
    with progress_bar("decisions") as bar:
        task = bar.add_task("Replaying", total=None)
        while summary.count < limit:
            request.page_size = min(REPLAY_PAGE, limit - summary.count)
            page = await client.ask(client.policies.ReplayDecisions, request)
            if page.problems:
                raise UserError(_problems(request, page))
            if not request.page_token:
                total_count = page.total_count
                bar.update(task, total=min(limit, total_count))
            summary.policy_revision = page.policy_revision
            for comparison in page.comparisons:
                summary.add(comparison)
            bar.update(task, completed=summary.count)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
    return summary, total_count


def _problems(request: ReplayDecisionsRequest, page: ReplayDecisionsResponse) -> str:
    """The problems of the rules, as `truestock check` shows them."""
    problems = tuple(
        Problem(x.file, x.line, x.column, x.code, x.message, x.help, x.end_line, x.end_column) for x in page.problems
    )
    return problems_text(problems, {file.path: file.content for file in request.files}).rstrip()


def _replay_result(response: ReplayDecisionResponse) -> str:
    stored, current = response.stored_software_version, response.software_version
    versions = f"Truestock {current}" if stored == current else f"decided by Truestock {stored}, replayed by {current}"
    rules = f"rules {response.decision.policy_revision}, {versions}"
    if response.identical:
        return f"Identical to the stored decision ({rules})."
    return f"Different: {response.differing_field} differs ({rules}). `--json` shows the new result."


def orders(
    channel: list_options.Channels = None,
    state: Annotated[
        list[str] | None, typer.Option("--state", help=f"Only this state; repeatable: {', '.join(_STATES)}.")
    ] = None,
    needs_person: Annotated[
        bool, typer.Option("--needs-person", help="Only orders that need manual intervention.")
    ] = False,
    on_hold: Annotated[bool, typer.Option("--on-hold", help="Only sold orders that are on hold.")] = False,
    location: Annotated[
        list[str] | None,
        typer.Option("--location", help="Only with units promised at or shipped from it; repeatable."),
    ] = None,
    sku: list_options.Skus = None,
    outcome: Annotated[
        list[str] | None, typer.Option("--outcome", help=f"Only this outcome; repeatable: {', '.join(_OUTCOMES)}.")
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", help=f"Only this status; repeatable: {', '.join(_STATUSES)}.")
    ] = None,
    number: list_options.NumberPart = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME|AGE", help="Only orders created since then, such as 1d.")
    ] = "",
    before: Annotated[str, typer.Option("--before", metavar="TIME|AGE", help="Only orders created before then.")] = "",
    updated_since: list_options.UpdatedSince = "",
    updated_before: list_options.UpdatedBefore = "",
    sort: Annotated[
        str, typer.Option("--sort", help="oldest (default), newest, or due: what must ship first, with open shipments.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Maximum number of orders.")] = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists orders, oldest first, or as --sort says.

    \b
    Examples:
      truestock orders
      truestock orders --channel tiktok_shop --state held --state confirmed
      truestock orders --needs-person --location store-austin --json
      truestock orders --on-hold
      truestock orders --number 13038 --sort newest
      truestock orders --sku TRN-1205-MOS --status backordered --since 7d
      truestock orders --location store-austin --sort due --limit 20
    """
    request = ListAllocationsRequest(
        channel_ids=channel or [],
        states=[options.word("--state", word, _STATES) for word in state or []],
        needs_person_only=needs_person,
        on_hold_only=on_hold,
        location_ids=location or [],
        skus=sku or [],
        outcomes=[options.word("--outcome", word, _OUTCOMES) for word in outcome or []],
        statuses=[options.word("--status", word, _STATUSES) for word in status or []],
        order_id_part=list_options.number_part(number),
        created_from=options.past_time(since, "--since"),
        created_before=options.past_time(before, "--before"),
        updated_from=options.past_time(updated_since, "--updated-since"),
        updated_before=options.past_time(updated_before, "--updated-before"),
        order_by=list_options.sort(sort),
    )

    async def ask(client: Client) -> tuple[list[Allocation], bool, list[str]]:
        names = {"skus": sku, "location_ids": location, "channel_ids": channel}
        return await matching(
            client, client.allocations.ListAllocations, request, lambda page: page.allocations, limit, **names
        )

    listed, more, unknown = call(server, ask)
    if as_json:
        print_json(listed)
    else:
        _print_orders(listed)
    say_more(len(listed), "order", more=more)
    unknown_names.refuse_unknown(unknown)


def _print_orders(listed: list[Allocation]) -> None:
    if not listed:
        stdout_console().print("No matching orders. `truestock allocate` sends one.")
        return
    table = new_table("order", "state", "outcome", "units", "locations", "created", "allocation", numbers=("units",))
    for order in listed:
        locations = ", ".join(dict.fromkeys(shipment.location_id for shipment in order.shipments)) or "-"
        outcome = enum_word(Outcome, order.outcome, "OUTCOME_") + (" (!)" if order.needs_person else "")
        state = enum_word(Allocation.State, order.state, "STATE_") + (", on hold" if order.HasField("hold") else "")
        units = sum(line.unit_count - line.cancelled_count for line in order.lines)
        order_key = f"{order.channel_id}/{order.order_id}"
        add_row(table, order_key, state, outcome, units, locations, format_time(order.create_time), order.allocation_id)
    stdout_console().print(table)
    if any(order.needs_person for order in listed):
        stdout_console().print("(!) needs or needed manual intervention.")
