"""The file of products."""

from __future__ import annotations

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
from truestock.v1.catalog_service_pb2 import PackageDimensions, Product

WEIGHT = "weight_grams"
DIMENSIONS = (WEIGHT, "length_mm", "width_mm", "height_mm")
_STATUSES = enum_words(Product.Status.keys(), "STATUS_", Product.Status.Value)


def make_product(cells: Cells) -> Product:
    """A product from one row."""
    product = Product(
        **{name: value for name, value in cells.items() if name not in (*DIMENSIONS, "price", "currency")}
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
        CsvColumn("velocity_per_day", velocity, "expected sales in units a day; empty if unknown", decimal=True),
    ),
    make_product,
    product_cells,
    {"dimensions": "weight_grams"},
)
