"""Follows the access file of one service, and writes what a change of it did to the audit log."""

from __future__ import annotations

import asyncio
from collections import deque

from service.audit import audit_log
from service.audit.access_changes import access_changes, access_in_force
from service.audit.audit_log import AuditedChange
from service.auth.authentication import Authentication
from service.background import every
from service.database.database import Connection, Database

ACCESS_SECONDS = 1.0
"""How often the service looks whether its access file has changed."""
WAITING_CHANGES = 10_000
"""Changes that wait to be written while the database does not answer; beyond it the oldest are dropped."""


class AccessAudit:
    """A change is in force before it is written: access must not wait for the database.

    `instance` is the name of the service in events. Of several processes of a service only one has `is_written`.
    """

    def __init__(
        self, database: Database, authentication: Authentication, instance: str, *, is_written: bool = True
    ) -> None:
        self._database = database
        self._authentication = authentication
        self._service = {"service": instance}
        self._is_written = is_written
        self._known = authentication.access
        self._waiting: deque[AuditedChange] = deque(maxlen=WAITING_CHANGES)

    async def started(self) -> None:
        """Writes what is in force at the start. Raises NotReady."""
        self._waiting.append(access_in_force(self._known, self._service))
        await self.write()

    async def run(self, stop: asyncio.Event) -> None:
        """Reloads the access file when it changes, until `stop` is set."""
        await asyncio.gather(every(ACCESS_SECONDS, stop, self.reload), every(ACCESS_SECONDS, stop, self.write))

    async def reload(self) -> None:
        """Reads the access file again if it changed."""
        await self._authentication.reload()
        access, known = self._authentication.access, self._known
        if access is not None and access is not known:
            self._known = access
            self._waiting.extend(access_changes(known, access, self._service))

    async def write(self) -> None:
        """Writes what has changed since. Raises NotReady; it then waits."""
        if not self._is_written:
            self._waiting.clear()
        if not self._waiting:
            return
        changes = list(self._waiting)

        async def work(connection: Connection) -> None:
            await audit_log.record(connection, changes)

        await self._database.transaction("audit_access", work)
        for _ in changes:
            self._waiting.popleft()
