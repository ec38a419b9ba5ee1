"""Why a shipment does not leave or arrive on earlier days, as stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date

from policies.domain.shipping_dates import DateStep, DayReason


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
