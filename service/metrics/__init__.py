"""The metrics that Prometheus scrapes, by business noun.

Each ratio has its numerator and denominator as separate counters. Counters with known label values start at 0.
"""

from service.metrics.labels import (
    DELIVERY_DAY,
    IN_TIME,
    LATE,
    NO_CHANNEL,
    OTHER_SOURCES,
    SHIP_BY,
    UNKNOWN_PLACE,
)
from service.metrics.metrics import Metrics

__all__ = [
    "DELIVERY_DAY",
    "IN_TIME",
    "LATE",
    "NO_CHANNEL",
    "OTHER_SOURCES",
    "SHIP_BY",
    "UNKNOWN_PLACE",
    "Metrics",
]
