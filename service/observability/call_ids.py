"""The ids by which a call can be found in the log, in traces and in the database."""

from __future__ import annotations

from typing import Any
from uuid import UUID


def call_ids(request: Any, response: Any) -> dict[str, str]:
    """The ids of the request, the allocation and the decision, as far as the call has them.

    All are UUIDs, so none can hold anything else. Request and response are None where there is none.
    """
    ids = {"request_id": _uuid(getattr(request, "request_id", ""))}
    allocation = getattr(response, "allocation", None)
    if allocation is not None:
        ids["allocation_id"] = allocation.allocation_id
        ids["decision_id"] = allocation.decision.decision_id
    return {name: value for name, value in ids.items() if value}


def _uuid(text: object) -> str:
    """The text if it is a UUID, in its usual form; else nothing."""
    try:
        return str(UUID(text)) if isinstance(text, str) and text else ""
    except ValueError:
        return ""
