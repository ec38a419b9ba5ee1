"""What keeps products from being listed, as a table, a summary and rows for whoever mends them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console

from service.cli.console import add_row, count, new_table
from truestock.v1.product_check_pb2 import UnreadyProduct

CSV_COLUMNS = ("sku", "display_name", "category", "attribute", "problem", "value", "owner", "rule", "source")


def print_unready(console: Console, products: Sequence[UnreadyProduct]) -> None:
    """Prints each problem of these products; nothing if there are none."""
    if not products:
        return
    table = new_table("SKU", "name", "attribute", "what is wrong", "owner", "rule")
    for product in products:
        for number, problem in enumerate(product.problems):
            name = (product.sku, product.display_name or "-") if number == 0 else ("", "")
            add_row(table, *name, problem.attribute, problem.problem, problem.owner, problem.rule)
    console.print(table)


def summary(channel_id: str, product_count: int, unready_count: int) -> Iterator[str]:
    """How many products were checked, and how many of them can be listed."""
    if not product_count:
        yield "No active products. `truestock import products FILE.csv` adds some."
        return
    checked = count(product_count, "product")
    if unready_count:
        yield f"{checked} checked for {channel_id}: {product_count - unready_count:,} ready, {unready_count:,} not."
    else:
        yield f"{checked} checked for {channel_id}: all are ready."


def csv_rows(products: Iterable[UnreadyProduct]) -> Iterator[Sequence[str]]:
    """A row for each problem, with the cells of CSV_COLUMNS."""
    for product in products:
        for problem in product.problems:
            yield (
                *(product.sku, product.display_name, product.category, problem.attribute, problem.problem),
                *(problem.value, problem.owner, problem.rule, problem.source),
            )
