"""Reads what a product of a test suite has for listings: name, barcode, sizes, images and attributes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from policies.domain.channel_statuses import PLATFORMS
from policies.domain.product_details import ListingReadiness, ProductDetails, ProductImage
from policies.reading.listing_requirements import MAX_IMAGES, MAX_LENGTH, MAX_PIXELS
from policies.source.rule_file import RuleFile
from policies.source.yaml_nodes import Node, ScalarNode, SequenceNode
from policies.testing.stated_values import entries, optional

SIZES = ("length_mm", "width_mm", "height_mm")
DETAIL_KEYS = ("display_name", "style", "barcode", *SIZES, "images", "attributes")
"""Keys of a product by which it is checked whether it can be listed."""
READY_KEY = "ready_for_channel"
MAX_SIZE_MM = 1_000_000_000

READY = ListingReadiness(ready=frozenset(PLATFORMS))
NOT_READY = ListingReadiness(unready=frozenset(PLATFORMS))


def details(file: RuleFile, fields: Mapping[str, Node]) -> ProductDetails:
    """What a fixture states; the rest is missing."""
    size = partial(_whole_number, file, most=MAX_SIZE_MM)
    return ProductDetails(
        style=optional(fields, "style", file.text),
        barcode=optional(fields, "barcode", file.text),
        length_mm=optional(fields, "length_mm", size),
        width_mm=optional(fields, "width_mm", size),
        height_mm=optional(fields, "height_mm", size),
        images=optional(fields, "images", partial(_images, file)) or (),
        attributes=optional(fields, "attributes", partial(_attributes, file)) or {},
    )


def readiness(file: RuleFile, fields: Mapping[str, Node]) -> ListingReadiness | None:
    """As stated; of a product that states nothing for listings it is ready, else worked out by the rules (None)."""
    if READY_KEY in fields:
        node = fields[READY_KEY]
        if isinstance(node, ScalarNode) and node.text == "unknown":
            return ListingReadiness()
        return NOT_READY if file.flag(node, f"'{READY_KEY}'") is False else READY
    return None if any(key in fields for key in DETAIL_KEYS) else READY


def _images(file: RuleFile, node: Node, what: str) -> tuple[ProductImage, ...]:
    """A list of sizes: `[{width_px: 1200, height_px: 1200}]`; `{}` is an image of unknown size."""
    if isinstance(node, SequenceNode) and not node.items:
        return ()
    example = "images: [{width_px: 1200, height_px: 1200}]"
    images = [
        _image(file, item, number) for number, item in enumerate(file.items(node, what, example, at_most=MAX_IMAGES), 1)
    ]
    return tuple(image for image in images if image is not None)


def _image(file: RuleFile, node: Node, number: int) -> ProductImage | None:
    fields = file.fields(node, "an image", ("width_px", "height_px"))
    if fields is None:
        return None
    width, height = (
        optional(fields, key, partial(_whole_number, file, most=MAX_PIXELS)) for key in ("width_px", "height_px")
    )
    if ("width_px" in fields) != ("height_px" in fields):
        file.note(node, "missing-key", "an image has only one of 'width_px' and 'height_px'", "state both or neither.")
        return None
    return ProductImage(f"image-{number}", width, height)


def _attributes(file: RuleFile, node: Node, what: str) -> dict[str, str]:
    texts = {
        key.text: file.text(value, f"the attribute '{key.text}'", at_most=MAX_LENGTH)
        for key, value in entries(file, node, what)
    }
    return {name: value for name, value in texts.items() if value is not None}


def _whole_number(file: RuleFile, node: Node, what: str, *, most: int) -> int | None:
    return file.integer(node, what, 1, most)
