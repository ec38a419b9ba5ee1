"""Rules in the database, by content hash: what decided an order stays readable when the folder has moved on."""

from __future__ import annotations

from sqlalchemy import LargeBinary, Text, select
from sqlalchemy.dialects.postgresql import insert

from service.database import Connection, Database, Statement, parameter, transposed, unnested
from service.policy_folder import PolicyFolder
from service.tables import policy_set

_file = unnested("file", path=Text, content=LargeBinary)
_KEEP = Statement(
    insert(policy_set)
    .from_select(
        ["revision", "path", "content"],
        select(parameter("revision", Text), _file.c.path, _file.c.content).order_by(_file.c.path),
    )
    .on_conflict_do_nothing()
)


async def keep(database: Database, folder: PolicyFolder) -> None:
    """Keeps the files of the rules in force, once for each revision."""
    loaded = folder.current
    if not loaded.files:
        return

    async def work(connection: Connection) -> None:
        rows = sorted(loaded.files.items())
        await _KEEP.run(connection, revision=loaded.policy_set.revision, **transposed(["path", "content"], rows))

    await database.transaction("keep_policies", work)
