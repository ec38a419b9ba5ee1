"""Writing what an intake found out besides the orders: links, kept cancellations, incidents."""

from __future__ import annotations

from policies.policy import PolicySet
from service import incidents, kept_cancellations, names
from service.arrival import Intake
from service.database import Connection


async def write_intake(connection: Connection, intake: Intake, policy_set: PolicySet) -> None:
    """To be called after the orders were written, with all locks held."""
    await names.write(connection, intake.changed_links.values())
    begun = {record.id for record in intake.records.values()}
    await names.drop(connection, intake.names.made - begun)
    await kept_cancellations.drop(connection, intake.dropped_kept)
    book = intake.doings.book
    await kept_cancellations.write(connection, book.now, intake.changed_kept.values())
    raised = await incidents.raise_all(connection, policy_set, book.now, intake.incidents, book.new_id)
    intake.doings.raised += raised
