"""The word that somebody most likely meant: the nearest of the known ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

MAX_WORD = 100
"""Characters of a word that are compared."""

CANDIDATES = 20
"""Known words that share most pairs of letters with a word; only these are compared letter by letter."""

_SEPARATORS = re.compile(r"[-_. /]+")
_LONGEST_ABBREVIATION = 3
_SHORTEST_PART = 3


class NearWords:
    """Known words, indexed so that the nearest to each of many others is found quickly."""

    def __init__(self, known: Iterable[str]) -> None:
        """Of equally near words, the first is found."""
        self._words = list(dict.fromkeys(known))
        self._by_plain = {_plain(word): word for word in reversed(self._words)}
        self._by_pair: dict[str, list[str]] = {}
        for plain in self._by_plain:
            for pair in _pairs(plain):
                self._by_pair.setdefault(pair, []).append(plain)

    def nearest(self, word: str) -> str | None:
        """The known word that is most like this one; None if none is similar.

        Letter case, separators and leading zeros count least: `DC Memphis` is `dc-memphis`, and `42` is `0042`. After
        misspellings come abbreviations (`Colorado` is `CO`) and parts (`denver` is `store-denver`).
        """
        own = _plain(word)
        if own in self._by_plain:
            return self._by_plain[own]
        shared = Counter(plain for pair in _pairs(own) for plain in self._by_pair.get(pair, ()))
        candidates = [plain for plain, _ in shared.most_common(CANDIDATES)]
        if close := get_close_matches(own, candidates, n=1):
            return self._by_plain[close[0]]
        return _abbreviation(own, self._words) or _whole(own, self._words)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like this one, as `NearWords` finds it."""
    return NearWords(known).nearest(word)


def _plain(word: str) -> str:
    """The word without what people vary: case, separators, and the zeros before a number."""
    plain = _SEPARATORS.sub("", word[:MAX_WORD].casefold())
    return plain.lstrip("0") or plain


def _pairs(plain: str) -> Iterator[str]:
    """Each pair of neighboring letters once; a single letter is one by itself."""
    yield from dict.fromkeys(plain[start : start + 2] for start in range(max(1, len(plain) - 1)))


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
    """The shortest known word of which this one is a part between separators."""
    if len(word) < _SHORTEST_PART:
        return None
    having = (other for other in known if word in _SEPARATORS.split(other.casefold()))
    return min(having, key=len, default=None)
