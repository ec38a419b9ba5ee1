"""SQL of candidates: rules that callers of TestPolicies sent, kept for a while by content hash.

All services on a database share them. The newest stay within their number and size.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Integer,
    Interval,
    LargeBinary,
    Text,
    delete,
    func,
    insert,
    literal_column,
    select,
    update as update_rows,
)

from policies.reading.rules_reader import is_rule_file
from service import limits
from service.audit import audit_log
from service.audit.audit_log import AuditedChange
from service.database.database import Connection, Database, Statement, parameter
from service.database.tables import policy_candidate
from truestock.v1 import policy_service_pb2 as policy_pb

_candidate = policy_candidate.c
_is_kept = _candidate.renew_time > func.clock_timestamp() - parameter("retention", Interval)
_RENEW = Statement(
    update_rows(policy_candidate)
    .values(renew_time=func.clock_timestamp())
    .where(_candidate.revision == parameter("revision", Text))
    .returning(_candidate.renew_time)
)
_ADD = Statement(
    insert(policy_candidate)
    .from_select(
        ["revision", "files", "file_count", "byte_count"],
        select(
            parameter("revision", Text),
            parameter("files", LargeBinary),
            parameter("file_count", Integer),
            parameter("byte_count", BigInteger),
        ),
    )
    .returning(_candidate.renew_time)
)
_newest_first = [_candidate.renew_time.desc(), _candidate.revision]
_ranked = select(
    _candidate.revision,
    func.row_number().over(order_by=_newest_first).label("position"),
    func.sum(_candidate.byte_count).over(order_by=_newest_first).label("bytes_to_here"),
).subquery("ranked")
_DROP_OLDEST = Statement(
    delete(policy_candidate).where(
        _candidate.revision.in_(
            select(_ranked.c.revision).where(
                (_ranked.c.position > parameter("most", Integer))
                | (_ranked.c.bytes_to_here > parameter("most_bytes", BigInteger))
            )
        )
    )
)
_PURGE = Statement(delete(policy_candidate).where(~_is_kept))
_LOCK = Statement(literal_column("LOCK TABLE policy_candidate IN SHARE ROW EXCLUSIVE MODE"))
_FILES = Statement(select(_candidate.files).where(_candidate.revision == parameter("revision", Text), _is_kept))


async def keep(database: Database, revision: str, files: Mapping[str, bytes]) -> datetime:
    """Keeps the rules among these files, or renews them; returns until when. Drops the oldest beyond the limits."""
    rules = {path: content for path, content in files.items() if is_rule_file(path)}
    stored = policy_pb.TestPoliciesRequest(
        files=[policy_pb.CandidateFile(path=path, content=rules[path]) for path in sorted(rules)]
    ).SerializeToString()

    async def work(connection: Connection) -> datetime:
        # Two services that add one each at the same moment would both keep more than the limit.
        await _LOCK.run(connection)
        row = await _RENEW.row(connection, revision=revision)
        if row is None:
            size = {"file_count": len(rules), "byte_count": sum(map(len, rules.values()))}
            row = await _ADD.row(connection, revision=revision, files=stored, **size)
            added = AuditedChange(audit_log.POLICY, "policy_candidate", revision, "created", None, size)
            await audit_log.record(connection, [added])
        assert row is not None
        await _DROP_OLDEST.run(connection, most=limits.CANDIDATES, most_bytes=limits.CANDIDATE_BYTES)
        renewed: datetime = row["renew_time"]
        return renewed + limits.CANDIDATE_RETENTION

    return await database.transaction("keep_candidate", work)


async def files(connection: Connection, revision: str) -> dict[str, bytes]:
    """The rule files of a candidate by path; empty if it is not kept."""
    row = await _FILES.row(connection, revision=revision, retention=limits.CANDIDATE_RETENTION)
    message = policy_pb.TestPoliciesRequest.FromString(row["files"]) if row else policy_pb.TestPoliciesRequest()
    return {file.path: file.content for file in message.files}


async def purge(connection: Connection, retention: timedelta | None = None) -> None:
    """Deletes candidates that were last sent before `retention`, CANDIDATE_RETENTION by default."""
    await _PURGE.run(connection, retention=retention or limits.CANDIDATE_RETENTION)
