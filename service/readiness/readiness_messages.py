"""Answers and checks as messages of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from policies.readiness.answers import Answer, Result, worst
from service.readiness.readiness_store import AnswerHistory
from service.rpc.proto_values import timestamp
from truestock.v1 import readiness_service_pb2 as readiness_pb

RESULTS = {
    Result.PASS: readiness_pb.READINESS_RESULT_PASS,
    Result.WARN: readiness_pb.READINESS_RESULT_WARN,
    Result.FAIL: readiness_pb.READINESS_RESULT_FAIL,
}


@dataclass(frozen=True, slots=True)
class Owner:
    """Who answers for a question, and how to reach them; empty if the rules do not say."""

    name: str
    contact: str = ""


def check_response(
    channel_id: str,
    now: datetime,
    policy_revision: str,
    answers: Sequence[Answer],
    *,
    history: Mapping[str, AnswerHistory],
    owners: Mapping[str, Owner],
) -> readiness_pb.CheckReadinessResponse:
    """The response to a check; `history` and `owners` are by question."""
    response = readiness_pb.CheckReadinessResponse(
        channel_id=channel_id,
        result=RESULTS[worst(answer.result for answer in answers)],
        check_time=timestamp(now),
        policy_revision=policy_revision,
    )
    for answer in answers:
        name = answer.question.name
        response.answers.append(_answer(answer, history[name], owners[name]))
    return response


def check_message(row: asyncpg.Record) -> readiness_pb.ReadinessCheck:
    """A row of `readiness_check`."""
    return readiness_pb.ReadinessCheck(
        channel_id=row["channel_id"],
        check_time=timestamp(row["check_time"]),
        result=RESULTS[Result(row["result"])],
        policy_revision=row["policy_revision"],
        failed_questions=row["failed"],
        warned_questions=row["warned"],
    )


def _answer(answer: Answer, history: AnswerHistory, owner: Owner) -> readiness_pb.ReadinessAnswer:
    return readiness_pb.ReadinessAnswer(
        question=answer.question.name,
        text=answer.question.text,
        result=RESULTS[answer.result],
        finding=answer.finding,
        details=answer.details,
        owner=owner.name,
        owner_contact=owner.contact,
        advice=answer.advice,
        since_time=timestamp(history.since_time),
        last_pass_time=timestamp(history.last_pass_time),
    )
