"""Prices and currencies from text, and times and amounts as messages of the API."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from service import limits

_PRICE = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)")


def price(text: str) -> Decimal:
    """A price such as `2.55`. Raises ValueError for anything else, also for NaN, infinity and amounts below 0."""
    if not _PRICE.fullmatch(text):
        raise ValueError(f"{text!r} is not a price; write it such as 2.55, without currency sign or thousands mark")
    amount = Decimal(text)
    if amount < 0:
        raise ValueError(f"the price {text} is below 0; leave it empty if there is no price")
    if amount > limits.MONEY:
        raise ValueError(f"the price {text} is above {limits.MONEY:,}; check the decimal point")
    if -int(amount.normalize().as_tuple().exponent) > 9:
        raise ValueError(f"the price {text} has more than 9 decimals; round it")
    return amount


def money(amount: Decimal, currency: str) -> Money:
    """The message for an amount of at most 9 decimals."""
    units = int(amount)
    return Money(currency_code=currency, units=units, nanos=int((amount - units) * 1_000_000_000))


def currency(text: str) -> str:
    """An ISO 4217 code such as `USD`. Raises ValueError for text of another form."""
    if not re.fullmatch(r"[A-Z]{3}", text):
        raise ValueError(f"{text!r} is not a currency; write three capital letters, such as USD")
    return text


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(time: datetime | None) -> Timestamp | None:
    """A time as the API sends it; unset if there is none."""
    if time is None:
        return None
    # Timestamp.FromDatetime converts through the calendar, which takes most of the time of building a timestamp.
    elapsed = time - _EPOCH
    return Timestamp(seconds=elapsed.days * 86_400 + elapsed.seconds, nanos=elapsed.microseconds * 1_000)


def optional_money(amount: Decimal | None, currency: str | None) -> Money | None:
    """An amount as the API sends it; unset if there is none."""
    if amount is None or currency is None:
        return None
    return money(amount, currency)
