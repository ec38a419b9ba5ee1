"""Days, and the reasons for them, as messages of the API."""

from __future__ import annotations

from datetime import date

from google.type.date_pb2 import Date

from policies.domain.shipping_dates import DateStep, DayReason
from truestock.v1 import shipment_pb2

_REASONS = {reason: shipment_pb2.DateStep.Reason.Value(f"REASON_{reason.name}") for reason in DayReason}


def step_message(step: DateStep) -> shipment_pb2.DateStep:
    """A step as a message."""
    return shipment_pb2.DateStep(
        reason=_REASONS[step.reason], first_day=date_message(step.first), last_day=date_message(step.last)
    )


def set_date(message: Date, day: date) -> None:
    """Writes a date into a message, at less cost than a message of its own."""
    message.year, message.month, message.day = day.year, day.month, day.day


def date_message(day: date) -> Date:
    """A date as a message."""
    return Date(year=day.year, month=day.month, day=day.day)
