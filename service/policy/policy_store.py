"""SQL of rule files, by revision: the rules of stored decisions stay readable after the folder changes."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, Interval, LargeBinary, Text, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from policies.reading.rules_reader import is_rule_file
from service import limits
from service.database.database import Connection, Database, Statement, parameter, transposed, unnested
from service.database.tables import policy_revision, policy_set
from service.policy.active_policies import ActivePolicies

_file = unnested("file", path=Text, content=LargeBinary)
_STORE = Statement(
    insert(policy_set)
    .from_select(
        ["revision", "path", "content"],
        select(parameter("revision", Text), _file.c.path, _file.c.content).order_by(_file.c.path),
    )
    .on_conflict_do_update(index_elements=["revision", "path"], set_={"use_time": func.clock_timestamp()})
)
_LIST = Statement(
    insert(policy_revision)
    .from_select(
        ["revision", "file_count", "byte_count"],
        select(parameter("revision", Text), parameter("file_count", Integer), parameter("byte_count", BigInteger)),
    )
    .on_conflict_do_nothing()
)
_UNLIST = Statement(delete(policy_revision).where(~exists().where(policy_set.c.revision == policy_revision.c.revision)))
_MARK_USED = Statement(
    update(policy_set)
    .values(use_time=func.clock_timestamp())
    .where(
        policy_set.c.revision == parameter("revision", Text),
        policy_set.c.use_time < func.clock_timestamp() - parameter("renewed", Interval),
    )
)
_FILES = Statement(select(policy_set).where(policy_set.c.revision == parameter("revision", Text)))


async def store_rules(database: Database, active_policies: ActivePolicies) -> None:
    """Stores the files of the rules in force, once for each revision, and marks them as in use."""
    loaded = active_policies.current
    if not loaded.files:
        return

    async def work(connection: Connection) -> None:
        rows = sorted(loaded.files.items())
        revision, rules = loaded.policy_set.revision, [content for path, content in rows if is_rule_file(path)]
        await _STORE.run(connection, revision=revision, **transposed(["path", "content"], rows))
        await _LIST.run(connection, revision=revision, file_count=len(rules), byte_count=sum(map(len, rules)))

    await database.transaction("store_policies", work)


async def mark_used(connection: Connection, revision: str) -> None:
    """Marks a revision as in use, at most once within DECISION_RENEWAL_INTERVAL."""
    await _MARK_USED.run(connection, revision=revision, renewed=limits.DECISION_RENEWAL_INTERVAL)


async def unlist_deleted(connection: Connection) -> None:
    """Deletes the entries of revisions whose files are all deleted."""
    await _UNLIST.run(connection)


async def files(connection: Connection, revision: str) -> dict[str, bytes]:
    """The files of a revision by path; empty if it is not stored."""
    return {r["path"]: r["content"] for r in await _FILES.rows(connection, revision=revision)}
