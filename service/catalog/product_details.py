"""Images and attributes of products: the API's messages as columns, and back; details as `policies` reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import asyncpg

from policies.domain.product_details import ProductDetails, ProductImage
from service import limits
from service.rpc.validation import Fields
from truestock.v1 import catalog_service_pb2 as catalog_pb

Row = asyncpg.Record | Mapping[str, Any]

COLUMNS = ("image_uris", "image_widths", "image_heights", "attribute_names", "attribute_values")
"""Columns of `product` that only lists and checks of products read: they may be long, and no order needs them."""

DETAIL_COLUMNS = ("sku", "style", "barcode", "image_uri", "length_mm", "width_mm", "height_mm", *COLUMNS)
"""Columns of which `details_of` is made, with the key."""

_NAME = re.compile("[a-z][a-z0-9_]{0,62}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


def columns(fields: Fields, at: str, product: catalog_pb.Product) -> dict[str, Any]:
    """The columns of a product's images and attributes; its main image is the first one."""
    stated_uri = fields.text(f"{at}.image_uri", product.image_uri, longest=limits.URI_LENGTH)
    images, attributes = product.images, product.attributes
    if fields.size(f"{at}.images", images, 0, limits.PRODUCT_IMAGES):
        for index, image in enumerate(images):
            _check_image(fields, f"{at}.images[{index}]", image)
        _check_total(fields, f"{at}.images", [image.uri for image in images])
    if images and stated_uri not in (None, images[0].uri):
        fields.wrong(f"{at}.image_uri", f"is '{stated_uri}', but images[0].uri is '{images[0].uri}'; state one of them")
    if fields.size(f"{at}.attributes", list(attributes), 0, limits.PRODUCT_ATTRIBUTES):
        for name, value in attributes.items():
            _check_attribute(fields, f"{at}.attributes", name, value)
        _check_total(fields, f"{at}.attributes", list(attributes.values()))
    names = sorted(attributes)
    return {
        "image_uri": images[0].uri if images else stated_uri,
        "image_uris": [image.uri for image in images],
        "image_widths": [image.width_px if image.HasField("width_px") else None for image in images],
        "image_heights": [image.height_px if image.HasField("height_px") else None for image in images],
        "attribute_names": names,
        "attribute_values": [attributes[name] for name in names],
    }


def set_message(message: catalog_pb.Product, row: Row) -> None:
    """Sets a product's images and attributes as they were stated."""
    for uri, width, height in zip(row["image_uris"], row["image_widths"], row["image_heights"], strict=True):
        message.images.add(uri=uri, width_px=width, height_px=height)
    message.attributes.update(_attributes(row))


def details_of(row: Row) -> ProductDetails:
    """What a row of `product` says that stock rules do not test."""
    pixels = zip(row["image_uris"], row["image_widths"], row["image_heights"], strict=True)
    images = tuple(ProductImage(uri, width, height) for uri, width, height in pixels)
    if not images and row["image_uri"]:
        images = (ProductImage(row["image_uri"]),)
    sizes = (row["length_mm"], row["width_mm"], row["height_mm"])
    return ProductDetails(row["style"], row["barcode"], *sizes, images, _attributes(row))


def _attributes(row: Row) -> dict[str, str]:
    return dict(zip(row["attribute_names"], row["attribute_values"], strict=True))


def _check_image(fields: Fields, at: str, image: catalog_pb.ProductImage) -> None:
    fields.text(f"{at}.uri", image.uri, longest=limits.URI_LENGTH, required=True)
    if " " in image.uri.strip():
        fields.wrong(f"{at}.uri", f"'{image.uri}' has a space; write %20 for it")
    stated = [name for name in ("width_px", "height_px") if image.HasField(name)]
    for name in stated:
        fields.whole_number(f"{at}.{name}", getattr(image, name), 1, limits.PIXELS)
    if len(stated) == 1:
        fields.wrong(at, f"has {stated[0]} alone; set both width_px and height_px, or neither")


def _check_attribute(fields: Fields, at: str, name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        shown = name[: limits.ID_LENGTH]
        fields.wrong(at, f"'{shown}' must be a name of a-z, 0-9 and '_', starting with a letter, at most 63 characters")
        return
    if not value.strip():
        fields.wrong(f"{at}.{name}", "must not be blank; leave it out")
    elif len(value) > limits.ATTRIBUTE_LENGTH:
        most = f"at most {limits.ATTRIBUTE_LENGTH:,} are allowed"
        fields.wrong(f"{at}.{name}", f"has {len(value):,} characters; {most}")
    elif _CONTROL.search(value):
        fields.wrong(f"{at}.{name}", "contains control characters; only line breaks are allowed")


def _check_total(fields: Fields, at: str, texts: list[str]) -> None:
    """Keeps a page of the largest products within the limit of responses."""
    length = sum(map(len, texts))
    if length > limits.DETAILS_LENGTH:
        fields.wrong(at, f"has {length:,} characters together; at most {limits.DETAILS_LENGTH:,} are allowed")
