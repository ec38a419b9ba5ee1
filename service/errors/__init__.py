"""The errors that a caller can see, and their form on the wire.

    TruestockError
    ├── ForwardedError     any of these         from a process that answers by other rules
    ├── InvalidFields      INVALID_ARGUMENT     every invalid field at once
    ├── RequestIdReused    INVALID_ARGUMENT     the same request id with other contents
    ├── RequestForgotten   INVALID_ARGUMENT     the same request id, whose contents were dropped with personal data
    ├── EventIdReused      INVALID_ARGUMENT     the same event id with other units
    ├── RulesTooCostly     INVALID_ARGUMENT     rules that take too long to load and test
    ├── Unauthenticated    UNAUTHENTICATED      no token or certificate that the access file knows
    ├── MissingRole        PERMISSION_DENIED    a principal without the role that the method needs
    ├── NotBound           PERMISSION_DENIED    what is not of the channels or locations that a principal is bound to
    ├── NotFound           NOT_FOUND            a channel, order, shipment … that the request names
    ├── WrongState         FAILED_PRECONDITION  a step that the state of an order, shipment or transfer forbids
    │   └── OrderOnHold    FAILED_PRECONDITION  a step of fulfillment while the order is on hold
    ├── TooManyRequests    FAILED_PRECONDITION  another request to cancel of an order that has as many as it can have
    ├── CannotReassign     FAILED_PRECONDITION  the shipment ended, or the new location cannot take it over
    ├── CannotUndo         FAILED_PRECONDITION  the parcel was delivered or came back, so it has left
    ├── CannotResolve      FAILED_PRECONDITION  the exception is resolved already, or its order forbids the resolution
    ├── NotReplayable      FAILED_PRECONDITION  a decision of which only a summary is stored
    ├── TooManyUnits       FAILED_PRECONDITION  more units than remain of an order line
    ├── FeedConflict       FAILED_PRECONDITION  two feeds that would own the same stock
    ├── SharedLocation     FAILED_PRECONDITION  a location that would be in two outlets of a channel
    ├── KitConflict        FAILED_PRECONDITION  a kit as a component of a kit, or more kits than the catalog takes
    ├── NoListingRequirements FAILED_PRECONDITION  no rules say what listings of the channel require
    ├── InsufficientStock  FAILED_PRECONDITION  a transfer of more units than are available
    ├── ReportTooLarge     INVALID_ARGUMENT     a report that takes too long, or has too many groups
    ├── UnreadableRequest  INVALID_ARGUMENT     bytes that are no message of the method
    ├── RequestTooLarge    RESOURCE_EXHAUSTED   above the byte limit
    ├── Overloaded         RESOURCE_EXHAUSTED   the queue is full or the deadline cannot be met; retry
    ├── TooManyCalls       RESOURCE_EXHAUSTED   more calls than the principal may make; retry
    ├── WatchLimitReached  RESOURCE_EXHAUSTED   too many callers watch already; retry
    └── NotReady           UNAVAILABLE          the database is unreachable, or the service is stopping; retry

Every other exception is INTERNAL with an error id, assigned by the call interceptor.
"""

from __future__ import annotations

from service.errors.callers import MissingRole, NotBound, TooManyCalls, Unauthenticated
from service.errors.catalog import FeedConflict, KitConflict, NoListingRequirements, SharedLocation
from service.errors.error_details import TRAILER_BYTES, Violation
from service.errors.load import NotReady, Overloaded, WatchLimitReached
from service.errors.missing_records import (
    NotFound,
    no_allocation,
    no_channel,
    no_listing,
    no_location,
    no_order,
    no_outlet,
    no_pool,
    no_product,
)
from service.errors.orders import (
    CannotReassign,
    CannotResolve,
    CannotUndo,
    InsufficientStock,
    NotReplayable,
    OrderOnHold,
    TooManyRequests,
    TooManyUnits,
    WrongState,
)
from service.errors.requests import (
    EventIdReused,
    InvalidFields,
    ReportTooLarge,
    RequestForgotten,
    RequestIdReused,
    RequestTooLarge,
    RulesTooCostly,
    UnreadableRequest,
)
from service.errors.truestock_error import DOMAIN, ForwardedError, TruestockError

__all__ = [
    "DOMAIN",
    "TRAILER_BYTES",
    "CannotReassign",
    "CannotResolve",
    "CannotUndo",
    "EventIdReused",
    "FeedConflict",
    "ForwardedError",
    "InsufficientStock",
    "InvalidFields",
    "KitConflict",
    "MissingRole",
    "NoListingRequirements",
    "NotBound",
    "NotFound",
    "NotReady",
    "NotReplayable",
    "OrderOnHold",
    "Overloaded",
    "ReportTooLarge",
    "RequestForgotten",
    "RequestIdReused",
    "RequestTooLarge",
    "RulesTooCostly",
    "SharedLocation",
    "TooManyCalls",
    "TooManyRequests",
    "TooManyUnits",
    "TruestockError",
    "Unauthenticated",
    "UnreadableRequest",
    "Violation",
    "WatchLimitReached",
    "WrongState",
    "no_allocation",
    "no_channel",
    "no_listing",
    "no_location",
    "no_order",
    "no_outlet",
    "no_pool",
    "no_product",
]
