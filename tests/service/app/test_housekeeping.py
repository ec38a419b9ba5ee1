"""What a service cleans up by itself keeps up with what its callers leave behind."""

from __future__ import annotations

import asyncpg
import pytest

from service.app import housekeeping
from service.database.database import plain_url
from tests.conftest import RetailerMaker

OLD_REQUESTS = """
INSERT INTO request (id, method, content, create_time)
SELECT gen_random_uuid(), 'AllocateOrder', 'named', now() - make_interval(days => age)
FROM generate_series(1, 120), unnest($1::int[]) AS age
"""


async def test_one_pass_deletes_all_old_request_ids_however_many_there_are(
    retailers: RetailerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "PURGE_BATCH", 50)
    monkeypatch.setattr(housekeeping, "FIRST_PURGE_SECONDS", 0.0)
    connection = await asyncpg.connect(plain_url(retailers.database_url))
    await connection.execute(OLD_REQUESTS, [6, 8])

    shop = await retailers.make()
    # The pass goes on to it once it has deleted the request ids.
    await shop.has_done("purge_cancellations")

    kept = await connection.fetchval("SELECT count(*) FROM request WHERE create_time < now() - interval '7 days'")
    younger = await connection.fetchval("SELECT count(*) FROM request WHERE content = 'named'")
    await connection.close()
    assert (kept, younger) == (0, 120)
