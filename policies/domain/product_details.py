"""What a channel shows of a product that stock rules do not test: sizes, barcode, images and attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ProductImage:
    """A picture of a product, with its size in pixels; None for both if nobody has stated it."""

    uri: str
    width_px: int | None = None
    height_px: int | None = None

    def __post_init__(self) -> None:
        if (self.width_px is None) != (self.height_px is None):
            raise ValueError(f"{self.uri} has only one of width_px and height_px; state both or neither")


@dataclass(frozen=True, slots=True)
class ProductDetails:
    """Sizes are those of one packed unit; None if nobody has stated them. The first image is the main one."""

    style: str | None = None
    barcode: str | None = None
    length_mm: int | None = None
    width_mm: int | None = None
    height_mm: int | None = None
    images: tuple[ProductImage, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ListingReadiness:
    """The platforms whose listing requirements a product meets, and those whose requirements it does not meet.

    A platform without requirements is in neither.
    """

    ready: frozenset[str] = frozenset()
    unready: frozenset[str] = frozenset()

    def on(self, platform: str | None) -> bool | None:
        """Whether the product meets the platform's requirements; None if the platform has none."""
        if platform in self.ready:
            return True
        return False if platform in self.unready else None
