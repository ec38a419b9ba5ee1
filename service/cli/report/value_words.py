"""What units of a report were worth, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from google.type.money_pb2 import Money

from service.cli.console import count
from truestock.v1 import report_service_pb2 as report_pb

_KINDS = report_pb.ReportValue
KIND_NAMES: Mapping[report_pb.ReportValue.Kind.ValueType, str] = {
    _KINDS.KIND_OVERSOLD: "Oversold",
    _KINDS.KIND_WITHHELD: "Kept by a buffer or a block",
    _KINDS.KIND_CANCELLED: "Cancelled",
    _KINDS.KIND_LATE: "In late shipments",
}
KIND_WORDS: Mapping[report_pb.ReportValue.Kind.ValueType, str] = {
    number: _KINDS.Kind.Name(number).removeprefix("KIND_").lower() for number in KIND_NAMES
}
"""As CSV has them: `oversold`."""
_WITHOUT_DECIMALS = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"}
)
_WITH_THREE_DECIMALS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
"""By ISO 4217; all others have two."""


def amount_of(money: Money) -> Decimal:
    """The amount as a number."""
    return Decimal(money.units) + Decimal(money.nanos) / 1_000_000_000


def money_words(money: Money) -> str:
    """An amount with the decimals of its currency: `1,234.50 USD`."""
    code = money.currency_code
    digits = 0 if code in _WITHOUT_DECIMALS else 3 if code in _WITH_THREE_DECIMALS else 2
    return f"{amount_of(money):,.{digits}f} {code}"


def worth(value: report_pb.ReportValue) -> str:
    """What units were worth: `1,234.50 USD`, or that they have no price."""
    return money_words(value.value) if value.HasField("value") else "no price stated"


def has_prices(values: Iterable[report_pb.ReportValue]) -> bool:
    """Whether an order stated a price of any of these units."""
    return any(value.HasField("value") for value in values)


def worth_by_kind(values: Iterable[report_pb.ReportValue]) -> dict[int, str]:
    """What units of each kind were worth, a line for each currency: `1,234.50 USD (12 units)`."""
    texts: dict[int, list[str]] = {}
    for value in values:
        if value.kind in KIND_NAMES:
            texts.setdefault(value.kind, []).append(f"{worth(value)} ({count(value.unit_count, 'unit')})")
    return {kind: "\n".join(parts) for kind, parts in texts.items()}
