"""Rewords the comments of tables and columns. It changes nothing else."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLES = {
    "allocation": "The one allocation of each order. Its row is the lock of the order.",
    "availability_published": "The value last published to a channel for each product.",
    "catalog_version": "Rises with every edit of locations and channels, so that services notice a stale copy.",
    "decision_catalog": "Catalog states that decisions were made in, each stored once.",
    "feed": "Declared feeds: who reports stock, and what the figures mean.",
    "ledger_reader": "How far background readers of the ledger, such as the velocity learner, have read.",
    "order_cancellation": "Cancellations by the channel's event id, including those that arrived before their order.",
    "policy_set": "Rule files in force or used by a stored decision, by the content hash of their set.",
    "request": "Completed requests with their answers, so that a retry gets the stored answer.",
    "stock_effect": "Effects of events on shipment lines, so that a repeated event has no second effect.",
    "stock_incoming": "Units on their way to a location; not sellable until they arrive.",
    "stock_quarantine": "Stock changes that cannot be recorded yet, kept until the cause is fixed.",
    "transfer": "Stock in transit between two locations; no channel can sell it.",
    "allocation_copy": "Copies of an order under other order numbers, such as the Shopify copy of a TikTok order.",
    "exception": "Exceptions: what a person or a policy must resolve.",
}
_COLUMNS = {
    ("allocation", "channel_status"): "order status in the channel's own word",
    ("allocation", "version"): "rises with every change, set under the row's lock",
    ("availability_published", "version"): "rises with every new value, set under the row's lock",
    ("channel", "location_ids"): "empty means all",
    ("channel", "cancellation_headroom"): "share of the channel's allowed cancellations that remains",
    ("channel", "platform"): "platform whose status words its orders use in channel_status",
    ("decision_catalog", "content"): "truestock.v1.DecisionInputs with only the channel and its locations",
    ("feed", "location_ids"): "empty means all",
    ("feed", "skus"): "empty means all",
    ("feed", "cadence_minutes"): "expected minutes between reports; null is never overdue",
    ("location", "ships_to"): "country codes; null is everywhere, empty is nowhere",
    ("location", "cut_off"): "local time, like opens and closes",
    ("order_cancellation", "unit_count"): "null cancels everything that has not shipped",
    ("order_cancellation", "cancel_time"): "by the channel's clock; contents of that time or later already include it",
    ("order_cancellation", "apply_time"): "null until its order arrives",
    ("product", "velocity_per_day"): "as set in the catalog; wins over learned_velocity",
    ("product", "learned_velocity"): "units a day as of learned_velocity_time; it decays from there",
    ("stock_movement", "reported_count"): "the number that the source reported",
    ("stock_movement", "change_id"): "unique to the source; a repeated id has no effect",
    ("stock_quarantine", "content"): "the StockChange as received",
    ("stock_quarantine", "cause"): "why it is quarantined, which decides when it is retried",
    ("transfer", "complete_time"): "null while units are in transit",
    ("allocation_copy", "provides_contents"): "true until the original order arrives",
    ("decision", "inputs"): "truestock.v1.DecisionInputs without the catalog; null in a summary record",
    ("exception", "subject"): "what it is about; one exception is open per kind and subject, however often it recurs",
    ("exception", "line_ids"): "the order lines that it is about; null is all",
    ("exception", "needs_person"): "false if policy alone resolved it",
    ("exception", "escalate_time"): "when it was escalated",
    ("exception", "escalate_to"): "who gets it when it is overdue; null is nobody",
    ("exception", "rule"): "the exception rule that decided, with file and line",
    ("order_line", "oversold"): "units sold that were not in stock, ever",
    ("promise", "rejected"): "units that the location could not supply",
    ("shipment", "deliver_time"): "when delivered or collected",
    ("shipment", "end_time"): "when rejected, cancelled or not collected",
    ("shortage", "backordered"): "true if the units wait for stock; they are filled before new orders",
    ("stock_level", "on_hand"): "below 0 if more units shipped than were counted",
    ("stock_level", "held"): "includes expired holds until they are swept",
    ("stock_level", "counted_time"): "effective time of the last accepted count",
    ("stock_level", "counted_units"): "units of that count",
    ("stock_level", "counted_sequence"): "the source's sequence number of that count",
    ("stock_level", "unavailable_time"): "effective time of the last accepted count that reported unavailable units",
    ("stock_level", "count_confidence"): "share of recent counts and picks that found the expected units",
    ("stock_level", "tracked"): "false once its feed stopped tracking the product here",
}


def upgrade() -> None:
    for table, comment in _TABLES.items():
        op.create_table_comment(table, comment)
    for (table, column), comment in _COLUMNS.items():
        op.alter_column(table, column, comment=comment)


def downgrade() -> None:
    """The old wording is not restored: no statement depends on a comment."""
