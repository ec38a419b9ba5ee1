"""Products that channels sold before the catalogue had them: what is to be settled about them, until they are known.

The units that wait for such a product are backorders: they get stock as soon as the product has some (`aftermath`).
"""

from __future__ import annotations

import asyncpg
from sqlalchemy import Text, literal_column, select

from policies.oversell import UNMAPPED
from service.database import Connection, Statement, any_of
from service.record import AllocationRecord
from service.tables import exception, exception_record

KIND = "unmapped_product"

_of_kind = exception.c.kind == literal_column(f"'{KIND}'")
_OF_SKUS = Statement(
    select(*exception_record)
    .where(_of_kind, exception.c.subject == any_of("skus", Text), exception.c.state == literal_column("'open'"))
    .order_by(exception.c.create_time, exception.c.id)
)


async def exceptions(connection: Connection, record: AllocationRecord) -> list[asyncpg.Record]:
    """What is open about products that an order waits for because the catalogue does not have them."""
    skus = sorted({short.sku for short in record.shortages if short.cause == UNMAPPED})
    return await _OF_SKUS.rows(connection, skus=skus) if skus else []
