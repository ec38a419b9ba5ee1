"""Why a shipment does not leave or arrive on earlier days: as stored, and as messages of the API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date

from google.type.date_pb2 import Date

from policies.domain.shipping_dates import DateStep, DayReason
from truestock.v1 import shipment_pb2

_REASONS = {reason: shipment_pb2.DateStep.Reason.Value(f"REASON_{reason.name}") for reason in DayReason}


def stored_steps(steps: Sequence[DateStep]) -> str | None:
    """The steps as they are stored; None if there are none."""
    return json.dumps([[x.reason, str(x.first), str(x.last)] for x in steps]) if steps else None


def steps_of(text: str | None) -> tuple[DateStep, ...]:
    """Steps from what is stored."""
    if text is None:
        return ()
    return tuple(
        DateStep(DayReason(reason), date.fromisoformat(first), date.fromisoformat(last))
        for reason, first, last in json.loads(text)
    )


def step_message(step: DateStep) -> shipment_pb2.DateStep:
    """A step as a message."""
    return shipment_pb2.DateStep(
        reason=_REASONS[step.reason], first_day=date_message(step.first), last_day=date_message(step.last)
    )


def date_message(day: date) -> Date:
    """A date as a message."""
    return Date(year=day.year, month=day.month, day=day.day)
