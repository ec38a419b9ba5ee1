"""A value that does not meet a listing requirement, for a drafted test in which it fires."""

from __future__ import annotations

from collections.abc import Mapping

from policies.domain.listing_formats import ImageRange, NumberRange, TextFormat
from policies.domain.product_details import ProductImage
from policies.policy_set import ListingRequirement, free_attribute

_SIDE_PX = 1_000
"""Sides of images where their size does not matter."""


def wrong_value(requirement: ListingRequirement) -> dict[str, object]:
    """The keys of a product that state it: none where a missing value is wrong, or where none was found."""
    if requirement.is_required:
        return {}
    match requirement.demand:
        case TextFormat() as demand:
            value: object = _wrong_text(demand)
        case NumberRange() as demand:
            value = _wrong_number(demand)
        case ImageRange() as demand:
            value = _wrong_images(demand)
    if value is None:
        return {}
    name = free_attribute(requirement.attribute)
    return {requirement.attribute: value} if name is None else {"attributes": {name: value}}


def _wrong_text(demand: TextFormat) -> str | None:
    texts = ["?", *(["x" * (demand.max_length + 1)] if demand.max_length is not None else [])]
    return next((text for text in texts if any(demand.problems(text))), None)


def _wrong_number(demand: NumberRange) -> float | None:
    numbers = [bound + step for bound, step in ((demand.at_most, 1), (demand.at_least, -1)) if bound is not None]
    return next((number for number in numbers if number > 0 and any(demand.problems(number))), None)


def _wrong_images(demand: ImageRange) -> list[Mapping[str, int]] | None:
    sides = [_SIDE_PX, 1, *([demand.max_side_px + 1] if demand.max_side_px is not None else [])]
    counts = [1, *([demand.max_count + 1] if demand.max_count is not None else [])]
    for side in sides:
        for count in counts:
            images = [ProductImage("", side, side)] * count
            if any(demand.problems(images)):
                return [{"width_px": side, "height_px": side}] * count
    return None
