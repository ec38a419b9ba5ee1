"""Names that a person probably meant: the same but for letter case, zeros at the front, or a typo."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-_./ "
_LEAST_LENGTH = 3
"""A key shorter than this is one typo away from nearly every other, so no typo is guessed in it."""
_SIMILARITY = 0.6


def plain_key(name: str) -> str:
    """What names have in common that differ only by letter case and by zeros at the front: `42` of `0042`."""
    return name.lower().lstrip("0")


def near_name(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant; None if none is similar."""
    candidates = sorted(candidate for candidate in names if candidate and candidate != name)
    key = plain_key(name)
    equal = [candidate for candidate in candidates if plain_key(candidate) == key]
    if equal:
        return max(equal, key=lambda candidate: difflib.SequenceMatcher(None, name, candidate).ratio())
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=_SIMILARITY)
    return by_lower[matches[0]] if matches else None


def near_names(wanted: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """By each name that is wanted, the one that was probably meant, if any."""
    known = list(names)
    found = {name: near_name(name, known) for name in wanted}
    return {name: near for name, near in found.items() if near is not None}


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
