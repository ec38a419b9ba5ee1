"""The word of each enum number of the catalog's API, as it is stored and as rules use it; 0 is unspecified."""

from __future__ import annotations

from collections.abc import Mapping

from policies.domain.model import (
    CANCELLATION_ANSWERS,
    CHANNEL_KINDS,
    LOCATION_STATUSES,
    LOCATION_TYPES,
    PRODUCT_STATUSES,
)

LOCATION_TYPE = dict(enumerate(LOCATION_TYPES, start=1))
LOCATION_STATUS = dict(enumerate(LOCATION_STATUSES, start=1))
PRODUCT_STATUS = dict(enumerate(PRODUCT_STATUSES, start=1))
CHANNEL_KIND = dict(enumerate(CHANNEL_KINDS, start=1))
CANCELLATION_DEFAULT: Mapping[int, str | None] = {0: None, **dict(enumerate(CANCELLATION_ANSWERS, start=1))}
