"""The tables of the audit log. Rows are only added; triggers refuse every other change, see migration 0058."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Index, LargeBinary, Table, Text, text

from service.database.columns import Moment, metadata, required

audit_event = Table(
    "audit_event",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    required("event_time", Moment, server_default=text("clock_timestamp()")),
    required("principal", Text, comment="who called, as the access file names it; truestock is the service itself"),
    required("credential", Text, comment="token, json_web_token, certificate, none or service"),
    Column("actor", Text, comment="the person that the caller named, if it did"),
    Column("peer", Text, comment="address and port that the call came from"),
    Column("rpc", Text, comment="the method that was called, such as UpsertLocations"),
    Column("request_id", Text, comment="as the caller stated it"),
    required("area", Text, comment="catalog, stock, exceptions, policy or access"),
    required("entity", Text, comment="kind of what was changed, such as location"),
    required("entity_id", Text),
    required("change", Text, comment="what happened to it, such as updated"),
    # Text, because what is sealed is these very bytes.
    Column("before", Text, comment="JSON: values before, of what changed; null if there was nothing"),
    Column("after", Text, comment="JSON: values after, of what changed; null if there is nothing any more"),
    Index("audit_event_time_idx", "event_time", "id"),
    Index("audit_event_principal_idx", "principal", "event_time", "id"),
    Index("audit_event_entity_idx", "entity_id", "event_time", "id"),
    Index("audit_event_rpc_idx", "rpc", "event_time", "id"),
    comment="Append-only: who changed what, written in the transaction of the change.",
)

audit_unsealed = Table(
    "audit_unsealed",
    metadata,
    Column("event_id", BigInteger, primary_key=True, autoincrement=False),
    comment="Audit events that the sealer has not sealed yet.",
)

audit_seal = Table(
    "audit_seal",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False, comment="1, 2, 3 … without gaps"),
    required("event_id", BigInteger, unique=True),
    required("hash", LargeBinary, comment="SHA-256 of the hash before it, the position, the time and the event"),
    required("seal_time", Moment),
    Column("signature", LargeBinary, comment="Ed25519, of the last seal of each transaction; null without a key"),
    CheckConstraint("position > 0", name="counted_from_one"),
    comment="Append-only: the hash chain over audit events.",
)

audit_anchor = Table(
    "audit_anchor",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False, comment="1, 2, 3 … without gaps"),
    required("position", BigInteger, comment="the last seal that was deleted with its event"),
    required("hash", LargeBinary, comment="of that seal"),
    required("event_time", Moment, comment="of that event"),
    required("anchor_time", Moment),
    required("signature", LargeBinary, comment="Ed25519"),
    CheckConstraint("number > 0 AND position > 0", name="counted_from_one"),
    comment="Append-only: up to where audit events were deleted because their retention had ended.",
)
