"""Limits of requests, responses and queues. Those that a caller can reach are documented in the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

REQUEST_BYTES = 1 << 20
"""Size of the largest request; a larger one is rejected with REQUEST_TOO_LARGE."""
RECEIVE_BYTES = 16 << 20
"""Size of the largest message that gRPC receives: above the limit of requests, so that the error above can be sent."""
RESPONSE_BYTES = 64 << 20
"""Size of the largest response: 500 SKUs at 1,000 locations with their reasons."""

ORDER_LINES = 500
LINE_UNITS = 100_000
GROUP_LENGTH = 64
SHIPMENT_PARCELS = 100
CARRIER_LENGTH = 64
TRACKING_NUMBER_LENGTH = 128
LINE_LOCATIONS = 100
"""Locations in each of the two lists of an order line, `only_location_ids` and `not_location_ids`."""
SKUS = 500
LOCATION_FILTER = 500
STOCK_CHANGES = 1_000
# Figures are PostgreSQL integers, which end at 2,147,483,647. The sum of two figures within this limit still fits, so
# no addition fails in the database.
COUNTED_UNITS = 1_000_000_000
UPSERTS = 1_000
LISTING_ORDERS = 100
LISTING_LINES = 10_000
"""Orders that use a deleted listing, of which DeleteListing names the newest, and order lines that it examines."""
ITEM_UNITS = 10_000
"""Units of a SKU in one item of a channel; an order line of LINE_UNITS items stays within COUNTED_UNITS."""
CANCELLATIONS = 500
BATCHED_ORDERS = 500
"""Orders in one BatchAllocateOrders request."""
KITS = 10_000
"""Kits of the catalog: every service keeps all of them in memory."""
KIT_COMPONENTS = 20
KIT_UNITS = 100
"""Units of one component in one kit."""
ORDER_COMPONENTS = 1_000
"""Lines of one order after its kits have become lines of components."""
KIT_ORDERS = 100
"""Orders that still use a deleted kit, of which DeleteKit names the oldest."""
PICKUP_RADIUS_KM = 50.0
PICKUP_RADIUS_LONGEST_KM = 1_000.0
PICKUP_LOCATIONS = 10
PICKUP_LOCATIONS_LIMIT = 100
PICKUP_EXAMINED = 200
"""Nearest locations among which a search looks for those that have the whole cart: each is a decision of its own."""
CHANNEL_FILTER = 100
ALLOCATIONS_PAGE_LIMIT = 500
ALLOCATIONS_PAGE_BYTES = 16 << 20
"""Size of a page of allocations; only a page with a single allocation may be larger."""

CATALOG_FILTER = 100
"""Entries in each filter of the lists of the catalog."""
NEAR_SKUS = 5
"""Unknown SKUs for which one request, or one error, looks up near ones."""
EXCEPTION_FILTER = 100
"""Entries in each filter of ListExceptions."""

PAGE_SIZE = 100
PAGE_SIZE_LIMIT = 1_000
EXAMINED = 1_000
"""Entries that a page of a list examines to find those that pass all its filters; it may end before it is full."""

ORDER_NUMBER_PART = 3
"""Characters that a beginning or an end of an order number to search for has at least."""
ORDER_NUMBER_MIDDLE = 5
"""Characters that a part from the middle of an order number has at least."""
NUMBERS_SEARCHED = 10_000
"""The newest orders among which a part from the middle is looked up; a beginning or an end is found by index."""
COUNTED_EXCEPTIONS = 100_000
"""Open exceptions that ListExceptions counts by owner and kind at most."""

ID_LENGTH = 64
SKU_LENGTH = 64
SOLD_SKU_LENGTH = 255
"""Characters that are kept of the SKU, or item id, of a sold line. Channels allow that many; no product has them."""
ORDER_ID_LENGTH = 128
ITEM_ID_LENGTH = 128
LINE_ID_LENGTH = 64
COMPONENT_LINE_ID_LENGTH = 160
"""Of the line of a kit's component: those of the kit's line and of the component's SKU, and what keeps them apart."""
CHANGE_ID_LENGTH = 128
TEXT_LENGTH = 256
URI_LENGTH = 2_048
PRODUCT_IMAGES = 50
PRODUCT_ATTRIBUTES = 100
ATTRIBUTE_LENGTH = 10_000
DETAILS_LENGTH = 15_000
"""Characters of the URIs of all images of a product together, and of all its attributes: a page of 1,000 such products
stays within RESPONSE_BYTES."""
PIXELS = 100_000
VALUE_SHOWN = 200
"""Characters of a value that a response repeats to say what is wrong with it."""
REGION_LENGTH = 64
POSTAL_CODE_LENGTH = 16
TAG_LENGTH = 64
ORDER_TAGS = 20
PRODUCT_TAGS = 50
LOCATION_TAGS = 50
CHANNEL_LOCATIONS = 1_000
POOL_LOCATIONS = 1_000
SOLD_OUTLET_ID_LENGTH = 255
"""Characters that an order may state of its outlet's id. No outlet has more than ID_LENGTH: such an order waits."""
POOLS_PAGE = 500
"""Pools in a page of their list: each may have so many locations."""
OUTLETS = 500
"""Outlets of one channel."""
OUTLET_USERS = 100
"""What still uses a deleted pool or outlet is counted whole; this many are named."""
COUNTRIES = 300
HOLIDAYS = 400
PRIORITY = 1_000
FIGURE_LAG_SECONDS = 86_400
HANDLING_MINUTES = 43_200
DIMENSION = 1_000_000_000
MONEY = 1_000_000_000_000
VELOCITY_PER_DAY = 10_000_000.0

HOLD_DEFAULT = timedelta(minutes=15)
HOLD_SHORTEST = timedelta(seconds=1)
HOLD_LONGEST = timedelta(hours=4)
UNPAID_ORDER_LONGEST = timedelta(hours=72)
"""How long a channel may at most let an order wait for payment; its holds may then last as long."""

HOLD_REASON_LENGTH = 128
ORDER_HOLD_LONGEST = timedelta(days=365)
"""How far ahead the end of a sold order's hold may lie: pre-orders wait for months."""
ORDER_HOLD_OVERDUE = timedelta(days=7)
"""After how long on hold a sold order is overdue if nobody said until when."""

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
# The driver stores the last microsecond of the calendar as infinity, and reads it without a time zone.
LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(microseconds=1)
"""The earliest and the latest time that a request may state."""
# Clocks of sources run ahead by minutes. A count dated much further ahead would absorb every real movement until that
# time, so it waits in quarantine instead. An order dated much further ahead would hide every later change of it.
CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of our clock a caller may date stock changes, orders, cancellations and events of shipments."""
REQUEST_ID_RETENTION = timedelta(days=7)
UNNAMED_REQUEST_RETENTION = timedelta(hours=1)
"""How long it is kept that a call without a request id was done: its own attempts end long before."""
"""How long a request id is remembered, so that a retry gets the stored response."""

DECISION_BYTES = 1 << 20
"""Size of the inputs stored for one decision; if they are larger, only a summary is stored."""
SHARED_EXPLANATION_BYTES = 4 << 10
"""Size of the explanations that decisions of one transaction share; any others are stored with their decisions."""
DECISION_CATALOG_BYTES = 16 << 20
"""Size of the channel and its locations stored for decisions; if larger, only summaries of its decisions are stored."""
DECISION_RENEWAL_INTERVAL = timedelta(hours=1)
"""How often the rules and catalogs that new decisions use are marked as used."""
DECISION_GRACE = timedelta(days=1)
"""How much longer than decisions their catalogs and rules are kept, so that no decision outlives its inputs."""
REPLAYS_WAITING = 8
EXPLANATIONS_WAITING = 8
"""Previews that wait for their explanation; one at a time is worked out, beside the orders."""
REPLAY_POLICY_SETS = 4
"""Past policy sets kept compiled for the next replay."""

REPLAY_SECONDS = 5
"""After this time a page of ReplayDecisions ends; it has at least one decision."""
REPLAY_PAGE_BYTES = 32 << 20
REPLAY_REVISIONS = 4
"""Size of the stored decisions and catalogs of one page, and how many past policy sets decided them."""
REPLAYS_COUNTED = 100_000
"""Decisions up to which the first page of ReplayDecisions counts what its filters select."""

POLICY_FILES = 1_000
POLICY_WARNINGS = 200
"""Warnings listed by GetPolicySet; it counts all of them."""
NAMED_FACTS = 50
FACT_VALUES = 1_000
"""Facts and values of one FindFactValues request."""
SANDBOX_SECONDS = 10
SANDBOX_BYTES = 1 << 30
"""CPU time and memory of a sandbox process that loads and tests the rules of a TestPolicies request."""
SANDBOX_WAIT_SECONDS = 60
"""How long a request waits for its sandbox process, which may get little CPU time on a busy machine."""
SANDBOX_SECONDS_PER_MIB = 8
SANDBOX_BYTES_PER_MIB = 192 << 20
SANDBOX_WAIT_SECONDS_PER_MIB = 20
"""What is added to these three for each MiB of rules beyond one request, so that a folder of 16 MiB can be tested."""
SANDBOXES_AT_ONCE = 2
SANDBOXES_WAITING = 8
LISTED_PROBLEMS = 5_000
LISTED_TEST_RESULTS = 10_000
"""Problems, untested rules and test results that TestPolicies lists; it counts all of them."""
FOLDERS_AT_ONCE = 4
FOLDER_SECONDS = 60
"""Folders that StreamTestPolicies receives at a time, each of up to 16 MiB, and how long one may take."""
CANDIDATES = 100
CANDIDATE_BYTES = 256 << 20
CANDIDATE_RETENTION = timedelta(days=7)
"""Candidates that are kept, their size together, and for how long after they were last sent."""
CANDIDATE_PROCESSES = 2
CANDIDATE_CALLS_WAITING = 8
CANDIDATE_CALL_SECONDS = 30
CANDIDATE_MORE_BYTES = 512 << 20
CANDIDATE_IDLE = timedelta(minutes=5)
"""Processes that answer by candidates, each for one of them, calls that wait for one, the CPU time of a call, how much
more memory it has than a test of the same rules, and when an idle process ends."""
POLICY_PERIODS = 100
"""Periods during which a revision was in force that ListPolicyRevisions lists, the latest ones."""
CONTENTS_AT_ONCE = 4
CONTENTS_WAITING = 32
"""Calls of GetPolicySet that read contents at a time, and further ones that wait."""

FOUND_IDS = 10
IDS_SEARCHED = 100_000
TRANSFERS_SEARCHED = 10_000
"""Ids in a FindIds response, and among how many of the newest an end of an id or a part of a transfer's is found."""

QUEUED_ORDERS = 10_000
"""Orders that may wait for allocation; further orders are rejected at once."""
CALLS_AT_ONCE = 2_000
"""Calls in progress that only read or bring new orders; further ones are rejected at once, unread."""
BATCH_ORDERS = 256
BATCH_LINES = 4_000
BATCH_LEVELS = 100_000
"""Orders, lines, and lines times locations in one transaction. An order alone may have more levels."""
LEVELS_AT_ONCE = 250
"""Lines, or SKUs, times locations up to which an order or an answer is worked out at once; larger ones in turns with
everything else."""

CHANNEL_STATUS_LENGTH = 64
EVENT_ID_LENGTH = 128
EARLY_CANCELLATION_RETENTION = timedelta(days=30)
"""How long a cancellation is kept for an order that has not arrived."""

CHANNEL_FIGURES = 1_000
"""Figures in one RecordChannelFigures request."""
CHANNEL_FIGURE_RETENTION = timedelta(days=30)
"""How long it is kept what channels show."""

CANCELLATION_REQUESTS = 20
"""Requests to cancel of one order, answered or not."""
CANCELLATION_DEADLINE_LONGEST = timedelta(days=365)
"""How far ahead the deadline of a request to cancel may lie."""

TRANSFER_LINES = 500
TRANSFER_ID_LENGTH = 128
MOVEMENT_KINDS = 50
"""Entries in the filter by kind of ListStockMovements."""
DEMAND_EVENTS = 1_000
"""Events in one RecordUnmetDemand request."""
SHORTFALLS_A_MINUTE = 2_000
"""Rows of unmet demand that questions about availability may add in a minute; further shortfalls are not recorded."""
DEMAND_SUM_LONGEST, DEMAND_SUM_DEFAULT = timedelta(days=366), timedelta(days=30)
DEMAND_SUM_PAGE = timedelta(days=30)
"""The range of SumUnmetDemand at most and by default, and how far back from its end a page begins at most."""
REPORT_DEFAULT, REPORT_LONGEST = timedelta(days=7), timedelta(days=400)
"""The window of a report: what it is unless the caller says, and the longest."""
REPORT_PERIODS = 800
REPORT_GROUPS = 500
"""Groups of a breakdown of a report."""
REPORT_ROWS = 200_000
"""Different combinations of period, part and groups that one report adds up."""
REPORT_LOCATIONS = CHANNEL_FILTER
REPORT_OVERSELLS = 200
REPORT_SECONDS = 20
REPORTS_WAITING = 8
READINESS_SECONDS = 60
READINESS_WAITING = 4
EXERCISE_SECONDS = 30
READINESS_CHECKS = 200
"""Checks of the readiness of each channel that are kept."""
ALERT_NAMES = 1_000
CONNECTION_CHECKS = 200
"""Permissions and webhooks in one report of a connector."""
CONNECTION_ITEMS = 100
"""Items that a connector names of those that are mapped on one side only."""
CONNECTION_TEXT_LENGTH = 1_000
SHOP_ITEMS = 1_000_000_000
HISTORY_FILTER = 100
"""Entries in each filter of the lists of history, other than SKUs."""
RECORD_ID_LENGTH = 512
"""Characters of an id in the history of the catalog, which may have that of a channel before it."""
HISTORY_PROBLEM_LENGTH = 2_000
"""Characters that are kept of the first problem of a rules folder that was refused."""
INCOMING_SHOWN = 100
"""Incoming deliveries listed in a stock level, earliest first."""

WATCHED_SKUS = 10_000
"""SKUs that one WatchAvailability call may name."""
WATCHERS = 200
"""WatchAvailability calls, and WatchOrders calls, that one service accepts at a time."""
WATCHED_CHANNELS = 100
"""Channels that one WatchOrders call may name."""
WATCH_CHANGES = 1_000
"""Availability changes in one message."""
WATCH_ORDERS = 100
"""Changed orders in one message."""
WATCH_PENDING = 10_000
"""Changed orders and events queued for a slow reader; beyond it, they are read from the database again."""
HEARTBEAT_DEFAULT = timedelta(seconds=15)
HEARTBEAT_SHORTEST = timedelta(seconds=1)
HEARTBEAT_LONGEST = timedelta(minutes=5)
RESUME_TOKEN_RETENTION = timedelta(days=90)
"""Resume tokens are accepted for at least this long."""

QUARANTINED_CHANGES = 10_000
"""Quarantined stock changes of one source; beyond it, the oldest of the source are dropped."""
QUARANTINED_SOURCES = 200
"""Sources that no feed declares and that have quarantined changes; changes of further ones are refused."""

FEED_LOCATIONS = 1_000
FEED_SKUS = 1_000
CADENCE_MINUTES = 43_200
"""Locations and SKUs that one feed may list, and its longest reporting interval."""

DELIVER_WITHIN_DAYS = 366
"""Days within which an order may ask to be delivered."""
