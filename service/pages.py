"""Page tokens: where a list goes on, in a form that callers keep and do not read."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from uuid import UUID

from service.fields import Fields

_APART = "\x1f"


def token(*parts: str) -> str:
    """The token of the place behind these values; none of them contains control characters."""
    return base64.urlsafe_b64encode(_APART.join(parts).encode()).decode()


def moment_token(moment: datetime, id: UUID) -> str:
    """The token of the place behind an entry that is sorted by a moment, then by its id."""
    return token(moment.astimezone(UTC).isoformat(), str(id))


def moment_and_id(fields: Fields, page_token: str) -> tuple[datetime, UUID] | None:
    """The place that a moment's token names; None where the list begins."""
    if not page_token:
        return None
    try:
        moment, id = base64.urlsafe_b64decode(page_token.encode()).decode().split(_APART)
        return datetime.fromisoformat(moment), UUID(id)
    except (binascii.Error, ValueError):
        fields.wrong("page_token", "is not a next_page_token of this service")
        return None
