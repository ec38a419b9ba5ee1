"""Answers and checks of readiness as tables."""

from __future__ import annotations

from rich.console import Console

from service.cli.console import add_row, count, enum_word, format_ago, format_time, new_table
from truestock.v1 import readiness_service_pb2 as readiness_pb

_PREFIX = "READINESS_RESULT_"


def result_word(result: readiness_pb.ReadinessResult.ValueType) -> str:
    """Such as `pass`."""
    return enum_word(readiness_pb.ReadinessResult, result, _PREFIX)


def print_readiness(console: Console, check: readiness_pb.CheckReadinessResponse) -> None:
    """Prints each question with its answer, then the result of all."""
    table = new_table("question", "result", "what was found", "owner", "what to do", "last true")
    for answer in check.answers:
        owner = f"{answer.owner} ({answer.owner_contact})" if answer.owner_contact else answer.owner
        found = "; ".join([answer.finding, *answer.details])
        last_true = format_ago(answer.last_pass_time, "never")
        add_row(table, answer.question, result_word(answer.result), found, owner, answer.advice or "-", last_true)
    console.print(table)
    counts = [
        f"{sum(answer.result == result for answer in check.answers)} {result_word(result)}"
        for result in readiness_pb.ReadinessResult.values()
        if result != readiness_pb.READINESS_RESULT_UNSPECIFIED
    ]
    console.print(f"{check.channel_id}: {result_word(check.result)} ({', '.join(counts)})")


def print_checks(console: Console, channel_id: str, checks: list[readiness_pb.ReadinessCheck]) -> None:
    """Prints earlier checks, newest first."""
    if not checks:
        console.print(f"The readiness of {channel_id} has not been checked yet.")
        return
    table = new_table("checked", "result", "failed", "warned", "rules")
    for check in checks:
        add_row(
            table,
            format_time(check.check_time),
            result_word(check.result),
            ", ".join(check.failed_questions) or "-",
            ", ".join(check.warned_questions) or "-",
            check.policy_revision,
        )
    console.print(table)
    console.print(count(len(checks), "check"))
