"""What is kept of oversold units for reports of what would have avoided them: the evidence, the stock, the rules."""

from __future__ import annotations

from collections.abc import Sequence

from service.allocation.planner import AllocationChange
from service.decisions.decision_inputs import level_message
from service.orders.allocation_record import AllocationRecord
from service.stock.stock_book import Book
from truestock.v1 import decision_pb2, report_service_pb2 as report_pb

HELD_BACK = "held back"
"""How the effect of a rule that keeps units begins."""


def stored_record(
    record: AllocationRecord, changes: Sequence[AllocationChange], book: Book, cause: str
) -> bytes | None:
    """The products of an order that were oversold for a cause, as they are stored; None if there are none."""
    short: dict[str, int] = {}
    for shortage in (x for change in changes for x in change.oversold if x.cause == cause):
        short[shortage.sku] = short.get(shortage.sku, 0) + shortage.unit_count
    if not short:
        return None
    channel = next((change.channel for change in changes if change.channel is not None), None)
    products = [_product(record, sku, units, cause) for sku, units in short.items()]
    for product in products:
        product.levels.extend(
            level_message(level)
            for (sku, location_id), level in book.levels.items()
            if sku == product.sku and (channel is None or channel.may_sell_from(location_id))
        )
    return report_pb.OversellRecord(products=products).SerializeToString()


def _product(record: AllocationRecord, sku: str, units: int, cause: str) -> report_pb.OversoldProduct:
    decision: decision_pb2.Decision = record.decision
    product = report_pb.OversoldProduct(sku=sku, short_count=units, cause=cause)
    for evidence in decision.oversells:
        if evidence.sku == sku:
            product.evidence.CopyFrom(evidence)
    fired = [x for x in decision.fired_rules if x.sku in ("", sku) and x.effect.startswith(HELD_BACK)]
    product.buffer_rules.extend(dict.fromkeys(x.rule for x in fired))
    return product
