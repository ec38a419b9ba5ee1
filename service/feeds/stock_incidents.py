"""What recorded changes of stock raise and settle: what is not mapped, figures that differ, counts to repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from policies.domain.model import Location, Product
from policies.domain.resolutions import STOCK_CORRECTED
from policies.explanation import unit_count_text
from policies.policy_set import PolicySet
from policies.stock.counting import ChangeResult, QuarantineCause
from service.database.database import Connection
from service.exceptions import incidents
from service.exceptions.incidents import Incident, RaisedException
from service.feeds.change_processing import RecordedChange

MISMATCH = "mismatch"
UNMAPPED_PRODUCT, UNMAPPED_LOCATION = "unmapped_product", "unmapped_location"


def observation_subject(result: RecordedChange) -> str:
    """The subject of an observation that differs: who saw it, of what, where."""
    return f"{result.change.source}/{result.change.sku}/{result.change.location_id}"


def recount_subject(result: RecordedChange) -> str:
    """The subject of two counts of one moment: what is to be counted again, and where."""
    return f"{result.change.sku}/{result.change.location_id}"


async def raise_and_resolve(
    connection: Connection,
    now: datetime,
    results: Sequence[RecordedChange],
    *,
    policy_set: PolicySet,
    products: Mapping[str, Product],
    locations: Mapping[str, Location],
    new_id: Callable[[], UUID],
) -> tuple[list[RaisedException], list[UUID]]:
    """Raises what the results ask somebody to settle, and settles what they have cured; the last word counts.

    Returns what is new, and the mismatches that are settled.
    """
    found: dict[tuple[str, str], Incident] = {}
    cured: set[str] = set()
    for result in results:
        if result.cause is QuarantineCause.UNMAPPED:
            found |= {(one.kind, one.subject): one for one in _unmapped(result, products, locations)}
        for subject, incident in _mismatches(result, products, locations):
            found.pop((MISMATCH, subject), None)
            cured.discard(subject)
            if incident is None:
                cured.add(subject)
            else:
                found[MISMATCH, subject] = incident
    description = "A later count agrees."
    settled = await incidents.resolve_all(
        connection, now, MISMATCH, sorted(cured), resolution=STOCK_CORRECTED, description=description, new_id=new_id
    )
    return await incidents.raise_all(connection, policy_set, now, found.values(), new_id), settled


def _unmapped(
    result: RecordedChange, products: Mapping[str, Product], locations: Mapping[str, Location]
) -> list[Incident]:
    change, found = result.change, []
    if change.sku not in products:
        said = f"{change.source} speaks of product '{change.sku}', which is not in the catalogue; upsert it."
        place = locations.get(change.location_id)
        found.append(Incident(UNMAPPED_PRODUCT, change.sku, said, location=place, sku=change.sku, source=change.source))
    if change.location_id not in locations:
        said = f"{change.source} speaks of location '{change.location_id}', which is not in the catalogue; upsert it."
        item = products.get(change.sku)
        found.append(
            Incident(
                UNMAPPED_LOCATION,
                change.location_id,
                said,
                product=item,
                location_id=change.location_id,
                source=change.source,
            )
        )
    return found


def _mismatches(
    result: RecordedChange, products: Mapping[str, Product], locations: Mapping[str, Location]
) -> list[tuple[str, Incident | None]]:
    """What a result says of mismatches, by subject: that there is one, or None where it is over."""
    change = result.change

    def incident(subject: str, said: str) -> Incident:
        return Incident(
            MISMATCH,
            subject,
            said,
            location=locations.get(change.location_id),
            product=products.get(change.sku),
            sku=change.sku,
            location_id=change.location_id,
            source=change.source,
        )

    what = f"{change.sku} at {change.location_id}"
    if result.cause is QuarantineCause.RECOUNT:
        return [
            (recount_subject(result), incident(recount_subject(result), f"{what}: {change.source} {result.reason}."))
        ]
    if result.result is ChangeResult.ACCEPTED and change.count is not None and result.difference is None:
        return [(recount_subject(result), None)]
    if result.difference is None:
        return []
    if not result.mismatch:
        return [(observation_subject(result), None)]
    by = f"{unit_count_text(abs(result.difference))} {'more' if result.difference > 0 else 'fewer'}"
    said = f"{change.source} sees {by} of {what} than are known; count there, or mend the feed."
    return [(observation_subject(result), incident(observation_subject(result), said))]
