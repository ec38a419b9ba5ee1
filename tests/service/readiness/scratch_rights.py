"""The right to make a scratch schema, which services of tests work without."""

from __future__ import annotations

from service.database.roles import SERVICE_ROLE
from tests.retailer import Retailer


async def let_services_make_schemas(shop: Retailer) -> None:
    """Grants it to the role of services."""
    name = (await shop.sql("SELECT current_database() AS name"))[0]["name"]
    await shop.sql(f'GRANT CREATE ON DATABASE "{name}" TO {SERVICE_ROLE}')
