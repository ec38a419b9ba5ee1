"""What a value of a product must look like: texts, numbers and images, each with what is wrong in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policies.domain.product_details import ProductImage

GTIN = "gtin"
TEXT_FORMATS = (GTIN,)
GTIN_LENGTHS = (8, 12, 13, 14)
"""Digits of a GTIN: of GTIN-8, UPC, EAN-13 and GTIN-14. Source: GS1 General Specifications, section 3."""
MAX_MATCHED = 1_000
"""Longest text that is compared with a pattern: the time that this takes grows with the square of the length."""
MAX_SHOWN = 60
"""Characters of a value that a message repeats."""
MAX_IMAGES_NAMED = 3
"""Images that a message names."""


@dataclass(frozen=True, slots=True)
class TextFormat:
    """Lengths are in characters. `pattern` must match the whole text; `one_of` are the allowed texts, all if empty."""

    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    one_of: tuple[str, ...] = ()
    format: str | None = None

    def problems(self, text: str) -> Iterator[str]:
        """What is wrong with a text, each as a clause about the attribute."""
        if self.min_length is not None and len(text) < self.min_length:
            yield f"has {_counted(len(text), 'character')}; at least {self.min_length:,} are required"
        if self.max_length is not None and len(text) > self.max_length:
            yield f"has {_counted(len(text), 'character')}; at most {self.max_length:,} are allowed"
        if self.one_of and text not in self.one_of:
            yield f"is {_shown(text)}; allowed: {', '.join(self.one_of)}"
        if self.pattern is not None:
            yield from self._unmatched(self.pattern, text)
        if self.format == GTIN and (problem := gtin_problem(text)) is not None:
            yield problem

    def _unmatched(self, pattern: str, text: str) -> Iterator[str]:
        if len(text) > MAX_MATCHED:
            yield f"has {len(text):,} characters; no text above {MAX_MATCHED:,} is compared with the pattern {pattern}"
        elif re.fullmatch(pattern, text) is None:
            yield f"is {_shown(text)}, which does not match the pattern {pattern}"


@dataclass(frozen=True, slots=True)
class NumberRange:
    """The smallest and the largest number; None is no limit."""

    at_least: float | None = None
    at_most: float | None = None

    def problems(self, number: float) -> Iterator[str]:
        """What is wrong with a number, as a clause about the attribute."""
        if self.at_least is not None and number < self.at_least:
            yield f"is {_number(number)}; it must be at least {_number(self.at_least)}"
        if self.at_most is not None and number > self.at_most:
            yield f"is {_number(number)}; it must be at most {_number(self.at_most)}"


@dataclass(frozen=True, slots=True)
class ImageRange:
    """How many images, and how large each is: `min_side_px` and `max_side_px` of its width and height alike.

    `min_longest_side_px` is of the longer of the two.
    """

    min_count: int | None = None
    max_count: int | None = None
    min_side_px: int | None = None
    max_side_px: int | None = None
    min_longest_side_px: int | None = None

    def problems(self, images: Sequence[ProductImage]) -> Iterator[str]:
        """What is wrong with the images, each as a clause about them."""
        if self.min_count is not None and len(images) < self.min_count:
            yield f"are {len(images)}; at least {self.min_count} must be there"
        if self.max_count is not None and len(images) > self.max_count:
            yield f"are {len(images)}; at most {self.max_count} are allowed"
        if (self.min_side_px, self.max_side_px, self.min_longest_side_px) != (None, None, None):
            wrong = [problem for number, image in enumerate(images, 1) for problem in self._sizes(number, image)]
            more = len(wrong) - MAX_IMAGES_NAMED
            yield from wrong[:MAX_IMAGES_NAMED]
            if more > 0:
                yield f"have the wrong size {_counted(more, 'more time')}"

    def _sizes(self, number: int, image: ProductImage) -> Iterator[str]:
        width, height = image.width_px, image.height_px
        if width is None or height is None:
            yield f"have no stated size: image {number}"
            return
        size = f"image {number} with {width:,} x {height:,} px"
        if self.min_side_px is not None and min(width, height) < self.min_side_px:
            yield f"have {size}; each side must be at least {self.min_side_px:,} px"
        if self.max_side_px is not None and max(width, height) > self.max_side_px:
            yield f"have {size}; each side must be at most {self.max_side_px:,} px"
        if self.min_longest_side_px is not None and max(width, height) < self.min_longest_side_px:
            yield f"have {size}; the longest side must be at least {self.min_longest_side_px:,} px"


Demand = TextFormat | NumberRange | ImageRange
"""What a value must be, by the kind of the value."""


def gtin_problem(text: str) -> str | None:
    """What is wrong with a GTIN (the number of an EAN or a UPC barcode), as a clause; None if nothing is.

    The last digit checks the others, which count three times and once in turns, from the right.
    Source: GS1 General Specifications, section 7.9.
    """
    if not (text.isascii() and text.isdecimal()) or len(text) not in GTIN_LENGTHS:
        return f"is {_shown(text)}; it must be a GTIN of 8, 12, 13 or 14 digits"
    digits = [int(digit) for digit in text]
    weighed = sum(digit * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits[:-1])))
    expected = -weighed % 10
    return None if digits[-1] == expected else f"is {text}, whose last digit would have to be {expected}"


def _shown(text: str) -> str:
    return f"'{text}'" if len(text) <= MAX_SHOWN else f"'{text[:MAX_SHOWN]}…'"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _number(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.2f}"
