"""The schema of the connectors' tables, and its migrations."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config

SCHEMA = "truestock_channels"
DATABASE_URL = "database_url"
"""The attribute of Alembic's configuration that `migrations/env.py` reads."""
MIGRATIONS = Path(__file__).parent / "migrations"


async def migrate(url: str) -> None:
    """Brings the connectors' tables up to date; several processes may do so at once. Raises what SQLAlchemy raises."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes[DATABASE_URL] = url
    # migrations/env.py calls asyncio.run, which fails inside a running event loop, so Alembic runs in a thread.
    await asyncio.to_thread(command.upgrade, config, "head")
