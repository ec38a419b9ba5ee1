"""Bounds on everything that a caller can send. Each is named in the API's documentation."""

from __future__ import annotations

from datetime import timedelta

REQUEST_BYTES = 1 << 20
"""Largest request; a larger one is refused with REQUEST_TOO_LARGE."""
RECEIVE_BYTES = 16 << 20
"""Largest message that is read at all, so that the refusal above can be sent."""
RESPONSE_BYTES = 64 << 20
"""Largest answer: 500 SKUs at 1,000 locations with their reasons."""

ORDER_LINES = 500
LINE_UNITS = 100_000
SKUS = 500
LOCATION_FILTER = 500
STOCK_CHANGES = 1_000
COUNTED_UNITS = 1_000_000_000
UPSERTS = 1_000
CANCELLATIONS = 500
BATCHED_ORDERS = 500
"""Orders of one BatchAllocateOrders."""
CHANNEL_FILTER = 100
ALLOCATIONS_PAGE_LIMIT = 500
ALLOCATIONS_PAGE_BYTES = 16 << 20
"""A page of allocations ends before it is larger, unless a single one is."""

EXCEPTION_FILTER = 100
"""Entries of each filter of ListExceptions."""

PAGE_SIZE = 100
PAGE_SIZE_LIMIT = 1_000

ID_LENGTH = 64
SKU_LENGTH = 64
ORDER_ID_LENGTH = 128
LINE_ID_LENGTH = 64
CHANGE_ID_LENGTH = 128
TEXT_LENGTH = 256
URI_LENGTH = 2_048
REGION_LENGTH = 64
POSTAL_CODE_LENGTH = 16
TAG_LENGTH = 64
ORDER_TAGS = 20
PRODUCT_TAGS = 50
LOCATION_TAGS = 50
CHANNEL_LOCATIONS = 1_000
COUNTRIES = 300
HOLIDAYS = 400
PRIORITY = 1_000
HANDLING_MINUTES = 43_200
DIMENSION = 1_000_000_000
MONEY = 1_000_000_000_000
VELOCITY_PER_DAY = 10_000_000.0

HOLD_DEFAULT = timedelta(minutes=15)
HOLD_SHORTEST = timedelta(seconds=1)
HOLD_LONGEST = timedelta(hours=4)

CLOCK_SKEW = timedelta(minutes=5)
"""A stock change from further ahead of our clock than this is quarantined."""
REQUEST_ID_RETENTION = timedelta(days=7)
"""How long a request id makes a retry safe."""

DECISION_BYTES = 1 << 20
"""Inputs of one decision that are stored; of longer ones only a short record is kept."""
DECISION_CATALOG_BYTES = 16 << 20
"""A channel with its locations that is stored for decisions; of decisions in a longer one short records are kept."""
DECISION_RENEWAL_INTERVAL = timedelta(hours=1)
"""How often what stored decisions need is marked as in use."""
DECISION_GRACE = timedelta(days=1)
"""How much longer than decisions their catalogues and rules are kept, so that none outlives what it needs."""
REPLAYS_WAITING = 8
REPLAY_POLICY_SETS = 4
"""Rules of former times that are kept ready for the next replay."""

POLICY_FILES = 1_000
SANDBOX_SECONDS = 10
SANDBOX_BYTES = 1 << 30
"""Time and memory in which rules that are sent to be tested are read and tested."""
SANDBOXES_AT_ONCE = 2
SANDBOXES_WAITING = 8

QUEUED_ORDERS = 10_000
"""Orders that may wait for the allocator; past it they are refused at once."""
BATCH_ORDERS = 256
BATCH_LINES = 4_000
"""Orders and lines of one transaction."""

CHANNEL_STATUS_LENGTH = 64
EVENT_ID_LENGTH = 128
EARLY_CANCELLATION_RETENTION = timedelta(days=30)
"""How long a cancellation waits for its order."""

TRANSFER_LINES = 500
TRANSFER_ID_LENGTH = 128
MOVEMENT_KINDS = 50
"""Kinds that a list of movements may be narrowed to."""
INCOMING_SHOWN = 100
"""Deliveries on their way that a stock level shows, the earliest."""

WATCHED_SKUS = 10_000
"""SKUs that one watch may name."""
WATCHERS = 200
"""How many may watch availability, and how many orders, at one service."""
WATCHED_CHANNELS = 100
"""Channels that one watch of orders may name."""
WATCH_CHANGES = 1_000
"""Changes of availability in one message of a watch."""
WATCH_ORDERS = 100
"""Changed orders in one message of a watch."""
WATCH_PENDING = 10_000
"""Changed orders and events that are remembered for one who reads slowly; past it they are looked up again."""
HEARTBEAT_DEFAULT = timedelta(seconds=15)
HEARTBEAT_SHORTEST = timedelta(seconds=1)
HEARTBEAT_LONGEST = timedelta(minutes=5)

FEED_LOCATIONS = 1_000
FEED_SKUS = 1_000
CADENCE_MINUTES = 43_200
"""What one feed declares: its locations and SKUs, and how seldom it may speak."""
