"""All tables of PostgreSQL, the only state of the service. Constraints repeat the invariants of the code."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, Uuid, text

from service.database.columns import Moment, Money, Texts, TransactionId, key, metadata, required, transaction_id
from service.database.history_tables import catalog_history, policy_history, unmet_demand
from service.database.order_tables import (
    IS_ON_HOLD,
    IS_OPEN,
    allocation,
    allocation_copy,
    decision,
    decision_batch,
    decision_catalog,
    due_time,
    exception,
    exception_event,
    exception_record,
    order_cancellation,
    order_event,
    order_line,
    promise,
    shipment,
    shortage,
    stock_effect,
)
from service.database.stock_tables import (
    catalog_version,
    channel,
    feed,
    kit,
    ledger_reader,
    listing,
    location,
    location_count_history,
    outlet,
    pool,
    product,
    stock_incoming,
    stock_level,
    stock_movement,
    stock_quarantine,
    stock_unavailable,
    transfer,
    transfer_line,
)

__all__ = [
    "IS_ON_HOLD",
    "IS_OPEN",
    "Moment",
    "Money",
    "Texts",
    "TransactionId",
    "allocation",
    "allocation_copy",
    "availability_history",
    "availability_published",
    "catalog_history",
    "catalog_version",
    "channel",
    "decision",
    "decision_batch",
    "decision_catalog",
    "due_time",
    "exception",
    "exception_event",
    "exception_record",
    "feed",
    "kit",
    "lease",
    "ledger_reader",
    "listing",
    "location",
    "location_count_history",
    "metadata",
    "order_cancellation",
    "order_event",
    "order_line",
    "outlet",
    "policy_candidate",
    "policy_history",
    "policy_revision",
    "policy_set",
    "pool",
    "product",
    "promise",
    "request",
    "shipment",
    "shortage",
    "stock_effect",
    "stock_incoming",
    "stock_level",
    "stock_movement",
    "stock_quarantine",
    "stock_unavailable",
    "transfer",
    "transfer_line",
    "unmet_demand",
]

availability_published = Table(
    "availability_published",
    metadata,
    key("channel_id"),
    key("sku"),
    required("sellable", BigInteger),
    required("largest_single_order", BigInteger),
    required("version", BigInteger, comment="rises with every new value, set under the row's lock"),
    required("publish_time", Moment),
    required("outlets", Text, server_default="", comment="sellable units by outlet, JSON; empty without outlets"),
    transaction_id(),
    comment="The value last published to a channel for each product.",
)

availability_history = Table(
    "availability_history",
    metadata,
    key("channel_id"),
    key("sku"),
    key("publish_time", Moment),
    required("sellable", BigInteger),
    required("policy_revision", Text, comment="of the rules that decided"),
    Index("availability_history_time_idx", "publish_time"),
    comment="Append-only: sellable units sent to each channel, as answers and on its watches.",
)

policy_set = Table(
    "policy_set",
    metadata,
    key("revision"),
    required("path", Text, primary_key=True),
    required("content", LargeBinary),
    required("create_time", Moment, server_default=text("clock_timestamp()")),
    required("use_time", Moment, server_default=text("clock_timestamp()"), comment="renewed hourly while in force"),
    comment="Rule files in force or used by a stored decision, by the content hash of their set.",
)

policy_revision = Table(
    "policy_revision",
    metadata,
    key("revision"),
    required("file_count", Integer, comment="rule files, without test suites"),
    required("byte_count", BigInteger),
    required("create_time", Moment, server_default=text("clock_timestamp()")),
    Index("policy_revision_time_idx", "create_time", "revision"),
    comment="Revisions whose rule files are in policy_set.",
)

policy_candidate = Table(
    "policy_candidate",
    metadata,
    key("revision"),
    required("files", LargeBinary, comment="truestock.v1.TestPoliciesRequest, without test suites"),
    required("file_count", Integer),
    required("byte_count", BigInteger),
    required("create_time", Moment, server_default=text("clock_timestamp()")),
    required("renew_time", Moment, server_default=text("clock_timestamp()"), comment="when it was last sent"),
    comment="Rules that callers sent to be tested, by content hash; kept for a week.",
)

lease = Table(
    "lease",
    metadata,
    key("name"),
    required("holder", Uuid, comment="the service that has it"),
    required("expire_time", Moment, comment="another may take it after this"),
    comment="What one of several services does, until a time that it renews.",
)

request = Table(
    "request",
    metadata,
    key("id", Uuid),
    required("method", Text),
    required("content", LargeBinary),
    Column("answer", LargeBinary),
    required("create_time", Moment, server_default=text("clock_timestamp()"), index=True),
    comment="Completed requests with their answers, so that a retry gets the stored answer.",
)
