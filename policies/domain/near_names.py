"""Names that a person probably meant: the same but for letter case, separators and zeros, or misspelled."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches

MAX_NAME = 100
"""Characters of a name that are compared."""

CANDIDATES = 20
"""Known names that share most pairs of letters with a name; only these are compared letter by letter."""
_SHORT_NAME = 4

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-_./ "
_LEAST_LENGTH = 3
"""A key shorter than this is one typo away from nearly every other, so no typo is guessed in it."""
_SEPARATORS = re.compile(r"[-_. /]+")
_LONGEST_ABBREVIATION = 3
_SHORTEST_PART = 3


class NearNames:
    """Known names, indexed so that the nearest to each of many others is found quickly."""

    def __init__(self, known: Iterable[str]) -> None:
        """Of equally near names, the first is found."""
        self._names = list(dict.fromkeys(name for name in known if name))
        self._by_plain: dict[str, list[str]] = {}
        for name in self._names:
            self._by_plain.setdefault(_plain(name), []).append(name)
        self._by_part: dict[str, list[str]] = {}
        for plain in self._by_plain:
            for part in _parts(plain):
                self._by_part.setdefault(part, []).append(plain)

    def nearest(self, name: str) -> str | None:
        """The other known name that is most like this one; None if none is similar.

        Letter case, separators and leading zeros count least: `DC Memphis` is `dc-memphis`, and `42` is `0042`. After
        misspellings come abbreviations (`Colorado` is `CO`) and parts (`denver` is `store-denver`).
        """
        own = _plain(name)
        if equal := self._with_plain(own, name):
            return equal
        shared = Counter(plain for part in _parts(own) for plain in self._by_part.get(part, ()) if plain != own)
        candidates = [plain for plain, _ in shared.most_common(CANDIDATES)]
        if close := get_close_matches(own, candidates, n=1):
            return self._with_plain(close[0], name)
        others = [other for other in self._names if other != name]
        return _abbreviation(own, others) or _whole(own, others)

    def _with_plain(self, plain: str, name: str) -> str | None:
        """The known name most like this one of those that are `plain` without what people vary."""
        names = [known for known in self._by_plain.get(plain, ()) if known != name]
        return max(names, key=lambda known: SequenceMatcher(None, name, known).ratio(), default=None)


def near_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, as `NearNames` finds it."""
    return NearNames(sorted(known)).nearest(name)


def near_names(wanted: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """By each name that is wanted, the known one that was probably meant, if any."""
    names = NearNames(sorted(known))
    found = {name: names.nearest(name) for name in wanted}
    return {name: near for name, near in found.items() if near is not None}


def plain_key(name: str) -> str:
    """What names have in common that differ only by letter case and by zeros at the front: `42` of `0042`."""
    return name.lower().lstrip("0")


def near_keys(name: str) -> list[str]:
    """The plain keys of names that are near: its own, and each that one typo turns into it.

    A typo is one character too many, too few or wrong, or two that changed places. They are for a lookup in an index of
    plain keys, where the known names are too many to compare with each.
    """
    key = plain_key(name)
    if len(key) < _LEAST_LENGTH:
        return [key]
    splits = [(key[:place], key[place:]) for place in range(len(key) + 1)]
    keys = {key}
    keys.update(head + tail[1:] for head, tail in splits if tail)
    keys.update(head + tail[1] + tail[0] + tail[2:] for head, tail in splits if len(tail) > 1)
    keys.update(head + letter + tail[1:] for head, tail in splits if tail for letter in _LETTERS)
    keys.update(head + letter + tail for head, tail in splits for letter in _LETTERS)
    return sorted(keys)


def near_by_keys(wanted: Iterable[str], candidates: Iterable[str]) -> dict[str, str]:
    """By each name that is wanted, the nearest candidate; `candidates` are what a lookup by `near_keys` found."""
    by_key: Mapping[str, list[str]] = _by_key(candidates)
    found: dict[str, str] = {}
    for name in wanted:
        near = [candidate for key in near_keys(name) for candidate in by_key.get(key, ())]
        nearest = near_name(name, near) or next(iter(near), None)
        if nearest is not None:
            found[name] = nearest
    return found


def _by_key(names: Iterable[str]) -> dict[str, list[str]]:
    by_key: dict[str, list[str]] = {}
    for name in names:
        by_key.setdefault(plain_key(name), []).append(name)
    return by_key


def _plain(name: str) -> str:
    """The name without what people vary: case, separators, and the zeros before a number."""
    plain = _SEPARATORS.sub("", name[:MAX_NAME].casefold())
    return plain.lstrip("0") or plain


def _parts(plain: str) -> Iterator[str]:
    """Each pair of neighboring letters once; of a short name also each letter: one typo may change all its pairs."""
    letters = plain if len(plain) <= _SHORT_NAME else ""
    yield from dict.fromkeys([*letters, *(plain[start : start + 2] for start in range(len(plain) - 1))])


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
