"""What a platform says as a text that every table, log and message takes: one line, printable and not too long."""

from __future__ import annotations

import re

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\s]+")
"""Control characters, halves of a pair that stand alone, and white space of all kinds."""


def plain_line(text: str, longest: int) -> str:
    """The text in one line, without spaces around it: neither PostgreSQL nor Truestock's API takes the rest."""
    return _UNPRINTABLE.sub(" ", text).strip()[:longest].strip()
