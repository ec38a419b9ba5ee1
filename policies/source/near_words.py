"""The word that somebody most likely meant: the nearest of the known ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

MAX_WORD = 100
"""Characters of a word that are compared."""

_SEPARATORS = re.compile(r"[-_. /]+")
_LONGEST_ABBREVIATION = 3
_SHORTEST_PART = 3


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like this one; None if none is similar.

    Letter case, separators and leading zeros count least: `DC Memphis` is `dc-memphis`, and `42` is `0042`. After
    misspellings come abbreviations (`Colorado` is `CO`) and parts (`denver` is `store-denver`).
    """
    words = list(dict.fromkeys(known))
    own = _plain(word)
    plain_words = {_plain(other): other for other in reversed(words)}
    if own in plain_words:
        return plain_words[own]
    if close := get_close_matches(own[:MAX_WORD], plain_words, n=1):
        return plain_words[close[0]]
    return _abbreviation(own, words) or _whole(own, words)


def _plain(word: str) -> str:
    """The word without what people vary: case, separators, and the zeros before a number."""
    plain = _SEPARATORS.sub("", word.casefold())
    return plain.lstrip("0") or plain


def _abbreviation(word: str, known: Sequence[str]) -> str | None:
    """The known abbreviation of the word: its beginning, or else the only one whose letters it has in this order."""
    short = [other for other in known if 2 <= len(other) <= _LONGEST_ABBREVIATION and other.isalpha()]
    beginnings = [other for other in short if word.startswith(other.casefold())]
    if beginnings:
        return max(beginnings, key=len)
    letters = [other for other in short if word[:1] == other[:1].casefold() and _has_letters(word, other.casefold())]
    return letters[0] if len(letters) == 1 else None


def _has_letters(word: str, abbreviation: str) -> bool:
    letters = iter(word)
    return all(letter in letters for letter in abbreviation)


def _whole(word: str, known: Sequence[str]) -> str | None:
    """The shortest known word of which this one is a part."""
    if len(word) < _SHORTEST_PART:
        return None
    return min((other for other in known if word in _plain(other)), key=len, default=None)
