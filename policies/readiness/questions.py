"""The questions of the checklist, in its order."""

from __future__ import annotations

from policies.readiness.answers import Question

PRODUCT_DATA = Question(
    "product_data", "Are the products that the channel sells complete and unambiguous?", "unmapped_product"
)
ITEMS_MAPPED = Question(
    "items_mapped",
    "Is every item of the channel mapped to a product, and every product to an item?",
    "unmapped_product",
)
OUTLETS_MAPPED = Question(
    "outlets_mapped", "Is every outlet mapped to locations, and every location to an outlet?", "unmapped_location"
)
LOCATIONS_DECIDED = Question(
    "locations_decided", "Has somebody decided which locations the channel may sell from?", "unmapped_location"
)
CONNECTOR_HEARD = Question("connector_heard", "Does the connector of the channel work, if it has one?", "sync_failed")
CONNECTION_AUTHORIZED = Question(
    "connection_authorized", "Does the shop let the connector in, and will it tomorrow?", "sync_failed"
)
CONNECTION_SCOPES = Question("connection_scopes", "Does the shop grant all that the connector needs?", "sync_failed")
CONNECTION_WEBHOOKS = Question(
    "connection_webhooks", "Does the shop send the webhooks that it should, and are they heard?", "sync_failed"
)
CONNECTION_OUTLETS = Question(
    "connection_outlets", "Is every location of the shop an outlet here, and every outlet there?", "unmapped_location"
)
CONNECTION_ITEMS = Question(
    "connection_items", "Is every item of the shop mapped here, and every listing there?", "unmapped_product"
)
COUNTS_FRESH = Question("counts_fresh", "Does every location report its stock?", "stale_feed")
COUNTS_RIGHT = Question("counts_right", "Can the counts of every location be trusted?", "mismatch")
BUFFERS_IN_PLACE = Question("buffers_in_place", "Do buffers keep units from the channel?", "oversell")
BUFFERS_TESTED = Question(
    "buffers_tested", "Do the tests of the rules pass, and do they cover every buffer?", "oversell"
)
BUFFERS_WIDE_ENOUGH = Question(
    "buffers_wide_enough", "Do buffers cover what sells before the feeds report it?", "oversell"
)
DESTINATIONS_COVERED = Question(
    "destinations_covered", "Does a location serve every destination and method of the channel?", "unfillable"
)
CAPACITY_STATED = Question("capacity_stated", "Is it stated how much the stores that ship can handle?", "late_shipment")
PATH_CANCELLATION = Question("path_cancellation", "Does a cancelled order give its units back?", "cancel_requested")
PATH_PARTIAL_FULFILLMENT = Question("path_partial_fulfillment", "Can an order ship in parts?", "unfillable")
PATH_REFUND = Question(
    "path_refund", "Does a refund without a return leave the stock as it is?", "paid_after_cancellation"
)
PATH_RETURN = Question("path_return", "Do returned units become stock again?", "cancelled_after_shipping")
PATH_STOCK_CHANGE = Question(
    "path_stock_change", "Are units that a count takes from a paid order rerouted, or somebody's to settle?", "oversell"
)
PATH_LOCATION_OFF = Question(
    "path_location_off",
    "Do orders leave a location that is switched off, or become somebody's?",
    "location_unavailable",
)
OWNERS_DECLARED = Question("owners_declared", "Does each kind of exception have an owner who can be reached?", "review")
METRICS_SCRAPED = Question("metrics_scraped", "Does a monitoring system read the metrics?", "sync_failed")
ALERTS_LOADED = Question("alerts_loaded", "Are the alerts loaded?", "sync_failed")
LEDGER_VERIFIED = Question("ledger_verified", "Is every stock figure the sum of its movements?", "sync_failed")
RULES_RELOAD = Question("rules_reload", "Is the rules folder as it was saved in force?", "sync_failed")
