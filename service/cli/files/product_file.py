"""The file of products."""

from __future__ import annotations

import re
from collections.abc import Sequence

from service import limits
from service.cli.files.file_kind import Cells, CsvColumn, FileKind
from service.cli.spreadsheets.cell_text import join_list
from service.cli.spreadsheets.cell_values import (
    choice,
    entries_of,
    enum_words,
    money_text,
    number_text,
    text,
    velocity,
    whole_number,
    word_of,
)
from service.rpc import proto_values
from truestock.v1.catalog_service_pb2 import PackageDimensions, Product, ProductImage

WEIGHT = "weight_grams"
ATTRIBUTES = "attributes"
DIMENSIONS = (WEIGHT, "length_mm", "width_mm", "height_mm")
_LINE_BREAK = re.compile(r"\\(?:n|\\)")
_STATUSES = enum_words(Product.Status.keys(), "STATUS_", Product.Status.Value)


def make_product(cells: Cells) -> Product:
    """A product from one row."""
    product = Product(
        **{name: value for name, value in cells.items() if name not in (*DIMENSIONS, "price", "currency", ATTRIBUTES)},
        attributes=_attributes(cells.get(ATTRIBUTES, [])),
    )
    if "price" in cells:
        product.price.CopyFrom(proto_values.money(cells["price"], cells.get("currency", "USD")))
    dimensions = {name: cells[name] for name in DIMENSIONS if name in cells}
    if set(dimensions) == {WEIGHT}:
        product.weight_grams = dimensions[WEIGHT]
        return product
    if dimensions and len(dimensions) < len(DIMENSIONS):
        missing = ", ".join(name for name in DIMENSIONS if name not in dimensions)
        raise ValueError(f"only some dimensions are given; fill in {missing} too, or the weight alone")
    if dimensions:
        product.dimensions.CopyFrom(PackageDimensions(**dimensions))
    return product


def image(cell: str) -> ProductImage:
    """Reads an image: its address, and its size in pixels if that is known, such as `https://… 1200x1200`."""
    uri, space, size = cell.rpartition(" ")
    if not space:
        return ProductImage(uri=text(limits.URI_LENGTH)(cell))
    match = re.fullmatch("([0-9]{1,6})[xX]([0-9]{1,6})", size)
    if match is None:
        raise ValueError(f"{size!r} is not a size in pixels; write it after the address, such as 1200x1200")
    width, height = (whole_number(1, limits.PIXELS)(number) for number in match.groups())
    return ProductImage(uri=text(limits.URI_LENGTH)(uri.strip()), width_px=width, height_px=height)


def attribute(cell: str) -> tuple[str, str]:
    """Reads an attribute and its value, such as `material=wool`; `\\n` is a line break in the value."""
    name, equals, value = cell.partition("=")
    if not equals or not value.strip():
        raise ValueError(f"{cell!r} is not an attribute with a value; write it such as material=wool")
    return name.strip(), _LINE_BREAK.sub(lambda found: "\n" if found[0] == "\\n" else "\\", value.strip())


def _attributes(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    attributes = dict(pairs)
    if len(attributes) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the attribute {repeated!r} is given twice; keep one of them")
    return attributes


def _image_text(image: ProductImage) -> str:
    return f"{image.uri} {image.width_px}x{image.height_px}" if image.HasField("width_px") else image.uri


def _attribute_text(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("\n", "\\n")
    return f"{name}={escaped}"


def product_cells(product: Product) -> dict[str, str]:
    """A product as one row."""
    cells = {
        "sku": product.sku,
        "display_name": product.display_name,
        "status": word_of(_STATUSES, product.status),
        "tags": join_list(product.tags),
        "category": product.category,
        "brand": product.brand,
        "style": product.style,
        "barcode": product.barcode,
        "image_uri": product.image_uri,
        "images": join_list(map(_image_text, product.images)),
        ATTRIBUTES: join_list(_attribute_text(name, product.attributes[name]) for name in sorted(product.attributes)),
    }
    if product.HasField("price"):
        cells |= {"price": money_text(product.price), "currency": product.price.currency_code}
    if product.HasField("weight_grams"):
        cells[WEIGHT] = str(product.weight_grams)
    if product.HasField("dimensions"):
        cells |= {name: str(getattr(product.dimensions, name)) for name in DIMENSIONS}
    if product.HasField("velocity_per_day"):
        cells["velocity_per_day"] = number_text(product.velocity_per_day)
    return cells


SKU = CsvColumn("sku", text(limits.SKU_LENGTH), "the stock keeping unit", required=True)
PRODUCTS = FileKind(
    "product",
    ("sku",),
    (
        SKU,
        CsvColumn("display_name", text(limits.TEXT_LENGTH), "name for people", free_text=True),
        CsvColumn("status", choice(_STATUSES), "active, draft or discontinued"),
        CsvColumn("tags", entries_of(text(limits.TAG_LENGTH)), r"tags separated by |; \| is a | in a tag"),
        CsvColumn("category", text(limits.TEXT_LENGTH), "such as tents", free_text=True),
        CsvColumn("brand", text(limits.TEXT_LENGTH), "such as Tarnwick", free_text=True),
        CsvColumn("price", proto_values.price, "such as 24.95", decimal=True),
        CsvColumn("currency", proto_values.currency, "of the price; USD if empty"),
        CsvColumn("style", text(limits.TEXT_LENGTH), "the same for all variants, such as sizes"),
        CsvColumn("barcode", text(limits.TEXT_LENGTH), "EAN, UPC or the like"),
        CsvColumn("image_uri", text(limits.URI_LENGTH), "URL of a picture"),
        *(
            CsvColumn(
                name, whole_number(1, limits.DIMENSION), "of the packed product; all four, the weight alone, or none"
            )
            for name in DIMENSIONS
        ),
        CsvColumn(
            "images", entries_of(image), "all pictures, the main one first, such as https://… 1200x1200|https://…"
        ),
        CsvColumn(
            ATTRIBUTES, entries_of(attribute), r"such as material=wool|color=red; \| is a | in a value", free_text=True
        ),
        CsvColumn("velocity_per_day", velocity, "expected sales in units a day; empty if unknown", decimal=True),
    ),
    make_product,
    product_cells,
    {"dimensions": "weight_grams"},
)
