"""Options that lists of orders, shipments and exceptions share."""

from __future__ import annotations

from typing import Annotated

import typer

from service import limits
from service.cli import options
from service.cli.options import enum_words
from truestock.v1 import order_pb2

Skus = Annotated[list[str] | None, typer.Option("--sku", help="Only this SKU; repeatable.")]
Locations = Annotated[list[str] | None, typer.Option("--location", help="Only this location; repeatable.")]
Channels = Annotated[list[str] | None, typer.Option("--channel", help="Only this channel; repeatable.")]
NumberPart = Annotated[
    str,
    typer.Option(
        "--number",
        metavar="PART",
        help=f"Only order numbers that begin or end with this, {limits.ORDER_NUMBER_PART} letters or more; with "
        f"{limits.ORDER_NUMBER_MIDDLE} also newest ones that contain it.",
    ),
]
UpdatedSince = Annotated[
    str, typer.Option("--updated-since", metavar="TIME|AGE", help="Only those changed since then, such as 2h.")
]
UpdatedBefore = Annotated[
    str, typer.Option("--updated-before", metavar="TIME|AGE", help="Only those that have not changed since then.")
]
SORTS = enum_words(order_pb2.ListOrder, "LIST_ORDER_")


def sort(word: str) -> order_pb2.ListOrder.ValueType:
    """The order of a list that `--sort` names; the list's own if it is left out."""
    order: order_pb2.ListOrder.ValueType = (
        options.word("--sort", word, SORTS) if word else order_pb2.LIST_ORDER_UNSPECIFIED
    )
    return order


def number_part(text: str) -> str:
    """Checks `--number`; empty if it is left out."""
    if 0 < len(text) < limits.ORDER_NUMBER_PART:
        raise typer.BadParameter(
            f"--number {text!r} is too short; give {limits.ORDER_NUMBER_PART} characters of the order number or more"
        )
    return text
