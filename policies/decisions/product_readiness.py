"""Whether a product has what a platform requires of its listings, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from policies.domain.listing_formats import ImageRange, NumberRange, TextFormat
from policies.domain.model import Context, Product
from policies.domain.product_details import ListingReadiness, ProductDetails, ProductImage
from policies.facts.measures import amount
from policies.policy_set import IMAGES, ListingRequirement, PolicySet, free_attribute
from policies.source.problems import Source

NOT_STATED = "is not stated"

_NO_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
# Conditions of requirements compare only facts of the product, which do not depend on the time.

_READERS: dict[str, Callable[[Product, ProductDetails], Any]] = {
    "display_name": lambda product, details: product.name,
    "category": lambda product, details: product.category,
    "brand": lambda product, details: product.brand,
    "style": lambda product, details: details.style,
    "barcode": lambda product, details: details.barcode,
    "price": lambda product, details: amount(product.price),
    "weight_grams": lambda product, details: product.weight_grams,
    "length_mm": lambda product, details: details.length_mm,
    "width_mm": lambda product, details: details.width_mm,
    "height_mm": lambda product, details: details.height_mm,
    IMAGES: lambda product, details: details.images,
}


@dataclass(frozen=True, slots=True)
class ListingProblem:
    """One thing that keeps a product from being listed: `attribute` is, has or are what `problem` says."""

    attribute: str
    problem: str
    value: str
    """The value as text; empty if nobody has stated it."""
    rule: str
    source: Source
    owner: str


def listing_problems(
    policy_set: PolicySet, platform: str, product: Product, details: ProductDetails
) -> tuple[ListingProblem, ...]:
    """What keeps a product from being listed on a platform, in the order of the rules; empty if nothing does."""
    return tuple(_problems(fired_requirements(policy_set, platform, product), product, details))


def readiness_of(policy_set: PolicySet, product: Product, details: ProductDetails) -> ListingReadiness:
    """On which platforms with requirements the product can be listed, and on which it cannot."""
    platforms = frozenset(policy_set.listing_matchers)
    ready = frozenset(x for x in platforms if _is_ready(fired_requirements(policy_set, x, product), product, details))
    return ListingReadiness(ready, platforms - ready)


def fired_requirements(policy_set: PolicySet, platform: str, product: Product) -> Sequence[ListingRequirement]:
    """The requirements that a platform has of this product, by its category, tags and the like."""
    matcher = policy_set.listing_matchers.get(platform)
    return () if matcher is None else matcher.fired(Context(_NO_MOMENT, product=product))


def _problems(
    requirements: Sequence[ListingRequirement], product: Product, details: ProductDetails
) -> Iterator[ListingProblem]:
    for requirement in requirements:
        value = _value(requirement.attribute, product, details)
        for problem in _wrong(requirement, value):
            yield ListingProblem(
                requirement.attribute, problem, _text(value), requirement.name, requirement.source, requirement.owner
            )


def _is_ready(requirements: Sequence[ListingRequirement], product: Product, details: ProductDetails) -> bool:
    return next(_problems(requirements, product, details), None) is None


def _value(attribute: str, product: Product, details: ProductDetails) -> Any:
    name = free_attribute(attribute)
    return _READERS[attribute](product, details) if name is None else details.attributes.get(name)


def _wrong(requirement: ListingRequirement, value: Any) -> Iterator[str]:
    if value in (None, "", ()):
        if requirement.is_required:
            yield NOT_STATED if requirement.attribute != IMAGES else "are not there"
        return
    match requirement.demand:
        case TextFormat() as demand:
            yield from demand.problems(value)
        case NumberRange() as demand:
            yield from demand.problems(value)
        case ImageRange() as demand:
            yield from demand.problems(value)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_image_text(image) for image in value)
    return "" if value is None else str(value)


def _image_text(image: ProductImage) -> str:
    return image.uri if image.width_px is None else f"{image.uri} ({image.width_px} x {image.height_px} px)"
