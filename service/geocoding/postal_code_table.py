"""The postal codes of one country with their coordinates, packed: 9 to 19 bytes a code and no object of Python's."""

from __future__ import annotations

import json
import sys
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from math import atan2, cos, degrees, hypot, radians, sin

from policies.domain.model import Coordinates

LONGEST_CODE = 10
"""Characters of a postal code without spaces and punctuation; no country has longer ones."""
SHORTEST_AREA = 2
"""Characters that must agree for an area: one digit is often several states."""
SAMPLED_CODES = 1_000
"""Codes of an area from which its center is worked out; of larger ones as many, evenly spaced."""

_PER_DEGREE = 100_000
_DEGREES = "i"


def plain_code(country: str, postal_code: str) -> str:
    """A postal code as it is compared: letters and digits in upper case, without its country's code before it."""
    code = "".join(x for x in postal_code.upper() if x.isascii() and x.isalnum())
    bare = code.removeprefix(country)
    return bare if bare[:1].isdigit() else code


@dataclass(frozen=True, slots=True)
class PostalCodeTable:
    """The codes, sorted, each padded to `width` bytes, and their coordinates in 1/100,000 of a degree."""

    country: str
    width: int
    codes: bytes
    latitudes: array[int]
    longitudes: array[int]

    @classmethod
    def empty(cls, country: str) -> PostalCodeTable:
        """The table of a country whose codes are not known."""
        return cls(country, 1, b"", array(_DEGREES), array(_DEGREES))

    @classmethod
    def of(cls, country: str, points: Mapping[str, Coordinates]) -> PostalCodeTable:
        """The table of these codes, which `plain_code` has made."""
        names = sorted(points)
        width = max(map(len, names), default=1)
        return cls(
            country,
            width,
            b"".join(name.encode().ljust(width, b"\0") for name in names),
            array(_DEGREES, (round(points[name].latitude * _PER_DEGREE) for name in names)),
            array(_DEGREES, (round(points[name].longitude * _PER_DEGREE) for name in names)),
        )

    def packed(self) -> bytes:
        """The table as bytes, for `unpacked` on the same machine."""
        header = json.dumps([self.country, self.width, len(self)]).encode()
        return b"\n".join((header, self.codes + self.latitudes.tobytes() + self.longitudes.tobytes()))

    @classmethod
    def unpacked(cls, packed: bytes) -> PostalCodeTable:
        """The table of which these are the bytes. Raises ValueError if they are not all there."""
        header, _, body = packed.partition(b"\n")
        country, width, count = json.loads(header)
        start, size = count * width, count * array(_DEGREES).itemsize
        latitudes, longitudes = array(_DEGREES), array(_DEGREES)
        latitudes.frombytes(body[start : start + size])
        longitudes.frombytes(body[start + size :])
        if len(longitudes) != count:
            raise ValueError(f"the table of {country} has {len(longitudes)} of {count} codes")
        return cls(country, width, body[:start], latitudes, longitudes)

    def __len__(self) -> int:
        return len(self.latitudes)

    @property
    def byte_count(self) -> int:
        """The memory that it takes."""
        return sys.getsizeof(self.codes) + sys.getsizeof(self.latitudes) + sys.getsizeof(self.longitudes)

    def point(self, postal_code: str) -> Coordinates | None:
        """The coordinates of a postal code that is known; None of any other."""
        code = plain_code(self.country, postal_code)
        point = self._exactly(code)
        # A ZIP+4 code is of a street in the area of its first five digits, which is what carriers go by.
        return self._exactly(code[:5]) if point is None and self.country == "US" and len(code) == 9 else point

    def area_center(self, postal_code: str) -> Coordinates | None:
        """The center of the codes that agree with the longest part of this one's beginning; None if none does.

        The first part of a British code ends before its last three characters, which no data has: M1 1AE is in M1,
        not in M11.
        """
        code = plain_code(self.country, postal_code)
        if self.country == "GB" and len(code) > 4 and (point := self._exactly(code[:-3])) is not None:
            return point
        for length in range(min(len(code), self.width), SHORTEST_AREA - 1, -1):
            start, end = self._position(code[:length]), self._position(code[:length] + "\x7f")
            if start < end:
                return self._center(range(start, end, max(1, (end - start) // SAMPLED_CODES)))
        return None

    def _exactly(self, code: str) -> Coordinates | None:
        if not code or len(code) > self.width:
            return None
        position = self._position(code)
        return self._at(position) if position < len(self) and self._code(position) == _bytes(code, self.width) else None

    def _position(self, code: str) -> int:
        """How many codes are before this one."""
        return bisect_left(range(len(self)), _bytes(code, self.width), key=self._code)

    def _code(self, position: int) -> bytes:
        return self.codes[position * self.width : (position + 1) * self.width]

    def _at(self, position: int) -> Coordinates:
        return Coordinates(self.latitudes[position] / _PER_DEGREE, self.longitudes[position] / _PER_DEGREE)

    def _center(self, positions: range) -> Coordinates:
        return center([self._at(position) for position in positions])


def center(points: list[Coordinates]) -> Coordinates:
    """The middle of points on the globe, to 1/100,000 of a degree.

    The mean of their unit vectors, so that points on both sides of the 180th meridian have theirs between them.
    """
    x = sum(cos(radians(p.latitude)) * cos(radians(p.longitude)) for p in points)
    y = sum(cos(radians(p.latitude)) * sin(radians(p.longitude)) for p in points)
    z = sum(sin(radians(p.latitude)) for p in points)
    return Coordinates(round(degrees(atan2(z, hypot(x, y))), 5), round(degrees(atan2(y, x)), 5))


def _bytes(code: str, width: int) -> bytes:
    return code.encode().ljust(width, b"\0")
