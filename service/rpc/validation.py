"""Checks of request fields, collected so that one error names every invalid field."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.latlng_pb2 import LatLng
from google.type.money_pb2 import Money

from policies.domain.model import LEAST_VELOCITY, Coordinates
from policies.facts.fact_table import COUNTRY_CODE
from service import limits
from service.errors import InvalidFields, Violation
from truestock.v1 import order_pb2

_RETAILER_ID = re.compile(r"[a-z0-9][a-z0-9_-]*")
_CURRENCY = re.compile(r"[A-Z]{3}")
_MARKET = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
Word = TypeVar("Word")
_NANOS = Decimal(10) ** 9


class Fields:
    """Collects violations; `finish` raises them all. Each check returns the value to use, or None after a violation."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def finish(self) -> None:
        """Raises InvalidFields if anything was wrong."""
        if self.violations:
            raise InvalidFields(self.violations)

    def wrong(self, field: str, description: str) -> None:
        """Adds a violation."""
        self.violations.append(Violation(field, description))

    def text(self, field: str, value: str, *, longest: int = limits.TEXT_LENGTH, required: bool = False) -> str | None:
        """Text without control characters; None if it is empty."""
        if not value.strip():
            if required or value:
                self.wrong(field, "must not be empty" if required else "must not be blank; leave it out")
            return None
        if len(value) > longest:
            self.wrong(field, f"has {len(value)} characters; at most {longest} are allowed")
        elif _CONTROL.search(value):
            self.wrong(field, "contains control characters")
        elif value != value.strip():
            self.wrong(field, f"'{value}' has spaces around it; remove them")
        return value

    def retailer_id(self, field: str, value: str) -> str:
        """An id that the retailer chooses for a location or channel."""
        checked = self.text(field, value, longest=limits.ID_LENGTH, required=True)
        if checked and not _RETAILER_ID.fullmatch(checked):
            self.wrong(field, f"'{value}' must contain only lower-case letters, digits, '-' and '_'")
        return value

    def sku(self, field: str, value: str) -> str:
        """The retailer's own product number, unchanged."""
        self.text(field, value, longest=limits.SKU_LENGTH, required=True)
        return value

    def whole_number(self, field: str, value: int, lowest: int, highest: int) -> int:
        """A whole number within bounds, both included."""
        if not lowest <= value <= highest:
            self.wrong(field, f"is {value:,}; it must be {lowest:,} to {highest:,}")
        return value

    def size(self, field: str, values: Sequence[object], lowest: int, highest: int) -> bool:
        """Whether the number of entries is allowed; if not, the entries need no further checks."""
        if lowest <= len(values) <= highest:
            return True
        self.wrong(
            field,
            f"has {len(values):,} entries; {lowest} to {highest:,} are allowed" if values else "must not be empty",
        )
        return False

    def tags(self, field: str, values: Sequence[str], most: int) -> frozenset[str]:
        """At most `most` tags, none of them empty."""
        if self.size(field, values, 0, most):
            for index, value in enumerate(values):
                self.text(f"{field}[{index}]", value, longest=limits.TAG_LENGTH, required=True)
        return frozenset(values)

    def country(self, field: str, value: str, *, required: bool = False) -> str | None:
        """An ISO 3166-1 alpha-2 code; whether the country exists is not looked up."""
        if value and not COUNTRY_CODE.matches.fullmatch(value):
            self.wrong(field, f"'{value}' is not an ISO 3166-1 alpha-2 code such as 'US'")
        elif required and not value:
            self.wrong(field, "must not be empty")
        return value or None

    def market(self, field: str, value: str) -> str:
        """A country, or a region of one; whether they exist is not looked up."""
        if not _MARKET.fullmatch(value):
            self.wrong(field, f"'{value}' is neither a country such as 'US' nor a region of one such as 'US-HI'")
        return value

    def coordinates(self, field: str, value: LatLng) -> Coordinates | None:
        """A point on the globe, in degrees; None for 0, 0, which is in the sea and what an empty message says."""
        if not value.latitude and not value.longitude:
            return None
        try:
            return Coordinates(value.latitude, value.longitude)
        except ValueError as error:
            self.wrong(field, str(error))
            return None

    def money(self, field: str, value: Money) -> Decimal | None:
        """An amount of 0 or more, rounded to four decimals."""
        if not _CURRENCY.fullmatch(value.currency_code):
            self.wrong(f"{field}.currency_code", f"'{value.currency_code}' is not an ISO 4217 code such as 'USD'")
        amount = Decimal(value.units) + Decimal(value.nanos) / _NANOS
        if not (0 <= value.nanos < _NANOS and 0 <= amount <= limits.MONEY):
            self.wrong(field, f"is {amount}; it must be 0 to {limits.MONEY:,}")
            return None
        return amount.quantize(Decimal("0.0001"))

    def rate(self, field: str, value: float) -> float | None:
        """Units a day: 0, or LEAST_VELOCITY to VELOCITY_PER_DAY. NaN and infinity are violations."""
        if value != 0 and not LEAST_VELOCITY <= value <= limits.VELOCITY_PER_DAY:
            self.wrong(field, f"is {value}; it must be 0, or {LEAST_VELOCITY:f} to {limits.VELOCITY_PER_DAY:,.0f}")
            return None
        return value

    def fraction(self, field: str, value: float) -> float | None:
        """A number from 0 to 1; NaN is a violation."""
        if not 0 <= value <= 1:
            self.wrong(field, f"is {value}; it must be a number from 0 to 1")
            return None
        return value

    def moment(self, field: str, value: Timestamp, *, given: bool) -> datetime | None:
        """A required time, in UTC."""
        if not given:
            self.wrong(field, "must not be empty")
            return None
        try:
            moment = value.ToDatetime(tzinfo=UTC)
        except (ValueError, OverflowError):
            moment = None
        if moment is None or not limits.EARLIEST <= moment <= limits.LATEST:
            self.wrong(field, "is not a time between the years 1970 and 9999")
            return None
        return moment

    def past_moment(self, field: str, value: Timestamp) -> datetime | None:
        """A time that is not ahead of the service's clock by more than clocks may differ, in UTC."""
        moment = self.moment(field, value, given=True)
        if moment is None or moment <= datetime.now(UTC) + limits.CLOCK_SKEW:
            return moment
        minutes = limits.CLOCK_SKEW.total_seconds() / 60
        text = f"is {moment:%Y-%m-%d %H:%M:%S} UTC, more than {minutes:g} minutes in the future"
        self.wrong(field, f"{text}; check the clock of the sender")
        return None

    def time_zone(self, field: str, value: str) -> str:
        """An IANA time zone; UTC if empty."""
        try:
            ZoneInfo(value or "UTC")
        except (KeyError, ValueError, OSError):
            self.wrong(field, f"'{value}' is not an IANA time zone such as 'America/Chicago'")
        return value or "UTC"

    def uuid(self, field: str, value: str, *, required: bool = False) -> UUID | None:
        """A UUID of any version."""
        if not value:
            if required:
                self.wrong(field, "must not be empty")
            return None
        try:
            return UUID(value)
        except ValueError:
            self.wrong(field, f"'{value[:64]}' is not a UUID such as '01890a5d-ac96-774b-bcce-b302099a8057'")
            return None

    def texts(self, field: str, values: Sequence[str], most: int, *, longest: int = limits.ID_LENGTH) -> list[str]:
        """The entries of a filter, none of them empty; none if there are more than `most`."""
        if not self.size(field, values, 0, most):
            return []
        for index, value in enumerate(values):
            self.text(f"{field}[{index}]", value, longest=longest, required=True)
        return list(values)

    def words(self, field: str, values: Sequence[int], words: Mapping[Any, Word]) -> list[Word]:
        """The values of a filter by an enum of the API, each once; `words` are those that it may have."""
        for index, value in enumerate(values):
            if value not in words:
                self.wrong(f"{field}[{index}]", f"is {value}; it must be one of: {', '.join(map(str, words.values()))}")
        return [word for value, word in words.items() if value in values]

    def time_range(self, start_field: str, end_field: str, request: Message) -> tuple[datetime | None, datetime | None]:
        """The start and the end of a filter by time, None where they are left out."""
        times = []
        for field in (start_field, end_field):
            is_given = request.HasField(field)
            times.append(self.moment(field, getattr(request, field), given=True) if is_given else None)
        start, end = times
        if start and end and start >= end:
            self.wrong(end_field, f"must be later than {start_field}")
        return start, end

    def list_order(self, order: int, allowed: Sequence[int]) -> int:
        """How to sort a list: the first of `allowed` if nothing is given."""
        if order and order not in allowed:
            names = ", ".join(order_pb2.ListOrder.Name(value) for value in allowed)  # type: ignore[arg-type]
            self.wrong("order_by", f"is {order}; it must be one of: {names}")
        return order or allowed[0]

    def order_number_part(self, field: str, value: str) -> str:
        """A part of an order number to search for; empty if it is left out."""
        text = self.text(field, value, longest=limits.ORDER_ID_LENGTH) or ""
        if 0 < len(text) < limits.ORDER_NUMBER_PART:
            self.wrong(
                field, f"'{text}' is too short; give at least {limits.ORDER_NUMBER_PART} characters of the number"
            )
        return text

    def order_key(self, field: str, value: order_pb2.OrderReference) -> tuple[str, str]:
        """The (channel id, order id) of the order that the field refers to."""
        channel_id = self.text(f"{field}.channel_id", value.channel_id, longest=limits.ID_LENGTH, required=True)
        order_id = self.text(f"{field}.order_id", value.order_id, longest=limits.ORDER_ID_LENGTH, required=True)
        return channel_id or "", order_id or ""

    def page_size(self, size: int) -> int:
        """The number of entries of a page; 0 means the default."""
        if size < 0:
            self.wrong("page_size", f"is {size}; it must be 0 or more")
        return min(size or limits.PAGE_SIZE, limits.PAGE_SIZE_LIMIT)
