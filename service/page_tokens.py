"""Page tokens of lists that show the newest first: the moment and the id of the last entry that was shown."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

from service import bounds
from service.fields import Fields

_APART = "\x1f"
_NEWEST = (datetime(9999, 12, 31, tzinfo=UTC), "")
"""Behind everything that was ever written, in the order of (moment, id)."""


def token(moment: datetime, id: str) -> str:
    """The token of the page behind this entry."""
    return base64.urlsafe_b64encode(f"{moment.astimezone(UTC).isoformat()}{_APART}{id}".encode()).decode()


def moment_and_id(fields: Fields, text: str) -> tuple[datetime, str]:
    """Where the page of a token begins; the newest entry where there is no token."""
    if not text:
        return _NEWEST
    try:
        stated, id = base64.urlsafe_b64decode(text[: 8 * bounds.TEXT_LENGTH].encode()).decode().split(_APART)
        moment = datetime.fromisoformat(stated)
        if moment.tzinfo is None:
            raise ValueError("a moment without a zone")
        fields.text("page_token", id, required=True)
    except (binascii.Error, ValueError):
        fields.wrong("page_token", "is not a next_page_token of this service")
        return _NEWEST
    return moment, id
