"""The tables of the past: what was counted, unmet demand, rules in force, changes of the catalog, checks.

Rows are only added. Those of a table with a retention are deleted once they are older.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.database.columns import Moment, Texts, key, metadata, required


def _number() -> Column[int]:
    """A key that rises with each row, made by the database: it costs the service nothing."""
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


unmet_demand = Table(
    "unmet_demand",
    metadata,
    _number(),
    required("demand_time", Moment),
    required("kind", Text, comment="hold_refused, hold_cut, availability, missed_sale or reported"),
    Column("channel_id", Text, comment="null for a missed sale of a till that named none"),
    required("sku", Text),
    required("wanted_count", Integer),
    required("met_count", Integer),
    required("unmet_count", Integer, comment="of the units not met, those that no earlier row of the same demand has"),
    required("call_count", Integer, server_default="1", comment="calls that this row stands for"),
    Column("method", Text),
    required("cause", Text, comment="why the units were not there"),
    Column("rules", Text, comment="names of the rules that kept them"),
    Column("policy_revision", Text, comment="of the rules in force; null if no rule was asked"),
    Column("location_id", Text),
    Column("order_id", Text),
    Column("allocation_id", Uuid),
    Column("line_id", Text),
    Column("event_id", Text, comment="what the channel or till calls it; known once in each channel"),
    CheckConstraint("met_count >= 0 AND wanted_count > met_count", name="not_met"),
    CheckConstraint("unmet_count BETWEEN 0 AND wanted_count - met_count", name="counted_once"),
    Index("unmet_demand_time_idx", "demand_time", "id"),
    Index("unmet_demand_sku_idx", "sku", "demand_time", "id"),
    Index("unmet_demand_order_idx", "allocation_id", postgresql_where=text("allocation_id IS NOT NULL")),
    Index(
        "unmet_demand_event_idx",
        text("coalesce(channel_id, '')"),
        "event_id",
        unique=True,
        postgresql_where=text("event_id IS NOT NULL"),
    ),
    comment="Append-only: units that shoppers wanted and did not get.",
)

order_count = Table(
    "order_count",
    metadata,
    _number(),
    required("count_time", Moment),
    required("kind", Text, comment="oversold, withheld, cancelled or needs_person; sold where no event has it"),
    required("cause", Text, comment="cause or fault of the units, or why a person was needed"),
    required("unit_count", Integer),
    required("is_first", Boolean, comment="the first of its kind for its order: the order counts too"),
    required("channel_id", Text),
    required("allocation_id", Uuid),
    required("policy_revision", Text),
    Column("rules", Texts, comment="names of the rules that fired in the decision, and its routing policy"),
    Column("oversold", LargeBinary, comment="truestock.v1.OversellRecord: evidence, stock and rules of oversold units"),
    Column("priced_units", Integer, comment="units with a price, of all of the kind that were counted with this row"),
    Column("value", Numeric, comment="of these units; null if none has a price"),
    Column("currency", Text, comment="of the value"),
    Index("order_count_time_idx", "count_time"),
    comment="Append-only: what counters count of sold orders besides sales, as it was counted.",
)

stock_comparison = Table(
    "stock_comparison",
    metadata,
    _number(),
    required("count_time", Moment),
    required("source", Text),
    required("location_id", Text),
    required("sku", Text),
    required("difference", Integer, comment="counted units less those on hand"),
    required("is_mismatch", Boolean, comment="the difference exceeds the tolerance that its feed had"),
    Index("stock_comparison_time_idx", "count_time"),
    comment="Append-only: counts that were only compared with on hand.",
)

policy_history = Table(
    "policy_history",
    metadata,
    _number(),
    required("event_time", Moment, server_default=text("clock_timestamp()")),
    required("instance", Text, comment="name of the service"),
    required("run_id", Uuid, comment="of one run of the service, from its start to its end"),
    required("event", Text, comment="started, loaded, refused or stopped"),
    required("revision", Text, comment="of the rules in force after the event"),
    required("load_time", Moment, comment="when the service read these rules"),
    required("problem_count", Integer, server_default="0", comment="of the folder that was refused"),
    Column("problem", Text, comment="the first of them"),
    Index("policy_history_time_idx", "event_time", "id"),
    Index("policy_history_revision_idx", "revision", "event_time", "id"),
    Index("policy_history_instance_idx", "instance", "event_time", "id"),
    UniqueConstraint("run_id", "event", "event_time"),
    comment="Append-only: which rules were in force when, on which service.",
)

readiness_answer = Table(
    "readiness_answer",
    metadata,
    key("channel_id"),
    key("question"),
    required("result", Text, comment="pass, warn or fail, in the last check"),
    required("since_time", Moment, comment="the first check since which it is the same"),
    Column("last_pass_time", Moment, comment="null if it never passed"),
    comment="The last answer to each question of the readiness checklist.",
)

readiness_check = Table(
    "readiness_check",
    metadata,
    _number(),
    required("channel_id", Text),
    required("check_time", Moment),
    required("result", Text, comment="the worst of its answers"),
    required("policy_revision", Text),
    required("failed", Texts, comment="questions that failed"),
    required("warned", Texts, comment="questions that warned"),
    Index("readiness_check_channel_idx", "channel_id", "id"),
    comment="The last checks of each channel's readiness.",
)

channel_connection = Table(
    "channel_connection",
    metadata,
    key("channel_id"),
    required("account", Text, comment="the name of the account where the connector runs"),
    required("report_time", Moment, comment="when the connector last said anything"),
    Column("look_time", Moment, comment="when it last looked at the shop; null if it never did"),
    required("content", LargeBinary, comment="the serialized Connection, without its shop"),
    Column("shop", LargeBinary, comment="the serialized ShopState; null if it never looked"),
    comment="What the connector of a channel last said of its account.",
)

catalog_history = Table(
    "catalog_history",
    metadata,
    _number(),
    required("change_time", Moment, server_default=text("statement_timestamp()")),
    required("kind", Text, comment="table of the record, such as location"),
    required("record_id", Text),
    required("change", Text, comment="created, updated or deleted"),
    required("call", Text, comment="the call that changed it, such as UpsertLocations"),
    required("before", JSONB, comment="values before, of the columns that changed; of a deleted record all"),
    Column("after", JSONB, comment="the whole record after the change; null if it was deleted"),
    Index("catalog_history_time_idx", "change_time", "id"),
    Index("catalog_history_record_idx", "record_id", "change_time", "id"),
    comment="Append-only: what changed in the catalog.",
)
