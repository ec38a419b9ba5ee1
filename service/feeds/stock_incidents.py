"""Exceptions that recorded stock changes raise and resolve: unmapped records, mismatches and counts to repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from policies.domain.model import Location, Product
from policies.domain.resolutions import STOCK_CORRECTED
from policies.explanation import unit_count_text
from policies.policy_set import PolicySet
from policies.stock.counting import ChangeResult, QuarantineCause
from service import limits
from service.allocation.sync_failures import SYNC_FAILED
from service.database.database import Connection
from service.exceptions import incidents
from service.exceptions.incidents import Incident, RaisedException, ResolvedException
from service.feeds.change_processing import RecordedChange
from service.feeds.quarantine import QuarantineLoss
from service.orders.order_exceptions import item_subject

MISMATCH = "mismatch"
SOURCES_NAMED = 3
"""Refused sources that an exception names."""
UNMAPPED_PRODUCT, UNMAPPED_LOCATION = "unmapped_product", "unmapped_location"


def observation_subject(result: RecordedChange) -> str:
    """The subject of a mismatching observation: source, SKU and location."""
    return f"{result.change.source}/{result.change.sku}/{result.change.location_id}"


def recount_subject(result: RecordedChange) -> str:
    """The subject of two counts of one moment: the SKU and location to count again."""
    return f"{result.change.sku}/{result.change.location_id}"


async def raise_and_resolve(
    connection: Connection,
    now: datetime,
    results: Sequence[RecordedChange],
    loss: QuarantineLoss,
    *,
    policy_set: PolicySet,
    products: Mapping[str, Product],
    locations: Mapping[str, Location],
    new_id: Callable[[], UUID],
) -> tuple[list[RaisedException], list[ResolvedException]]:
    """Raises exceptions for the results and resolves mismatches that are over; the last result about a subject decides.

    Returns the new exceptions and the resolved mismatches.
    """
    incidents_by_key = {(incident.kind, incident.subject): incident for incident in _losses(loss)}
    agreed: set[str] = set()
    for result in results:
        # A source whose quarantine is full has one exception for all: it could name any number of unknown products.
        if result.cause is QuarantineCause.UNMAPPED and result.change.source not in loss.dropped_counts:
            incidents_by_key |= {
                (incident.kind, incident.subject): incident for incident in _unmapped(result, products, locations)
            }
        for subject, incident in _mismatches(result, products, locations):
            incidents_by_key.pop((MISMATCH, subject), None)
            agreed.discard(subject)
            if incident is None:
                agreed.add(subject)
            else:
                incidents_by_key[MISMATCH, subject] = incident
    description = "A later count agrees with stock on hand."
    resolved = await incidents.resolve_all(
        connection, now, MISMATCH, sorted(agreed), resolution=STOCK_CORRECTED, description=description, new_id=new_id
    )
    return await incidents.raise_all(connection, policy_set, now, incidents_by_key.values(), new_id), resolved


def _losses(loss: QuarantineLoss) -> list[Incident]:
    """What was dropped or refused because the quarantine is full."""
    limit = f"{limits.QUARANTINED_CHANGES:,}"
    lost = [
        Incident(
            SYNC_FAILED,
            f"quarantine/{source}",
            f"{source} has more than {limit} stock changes in quarantine, so its oldest are dropped, {dropped:,} just "
            "now; upsert the products and locations that it reports, or correct the feed, and have it count again.",
            source=source,
        )
        for source, dropped in loss.dropped_counts.items()
    ]
    if loss.refused_sources:
        sources = ", ".join(sorted(loss.refused_sources)[:SOURCES_NAMED])
        sentence = (
            f"{limits.QUARANTINED_SOURCES} sources that no feed declares have stock changes in quarantine, so those of "
            f"{sources} were refused just now; declare the feeds, and have them send their changes again."
        )
        lost.append(Incident(SYNC_FAILED, "quarantine", sentence))
    return lost


def _unmapped(
    result: RecordedChange, products: Mapping[str, Product], locations: Mapping[str, Location]
) -> list[Incident]:
    change, unmapped = result.change, []
    location = locations.get(change.location_id)
    if change.sku not in products and change.item is not None:
        description = f"{change.source} reports {change.subject}, which is not mapped to a SKU; upsert its listing."
        subject = item_subject(*change.item)
        unmapped.append(Incident(UNMAPPED_PRODUCT, subject, description, location=location, source=change.source))
    elif change.sku not in products:
        description = f"{change.source} reports product '{change.sku}', which is not in the catalog; upsert it."
        unmapped.append(
            Incident(UNMAPPED_PRODUCT, change.sku, description, location=location, sku=change.sku, source=change.source)
        )
    if change.location_id not in locations:
        description = (
            f"{change.source} reports location '{change.location_id}', which is not in the catalog; upsert it."
        )
        product = products.get(change.sku)
        unmapped.append(
            Incident(
                UNMAPPED_LOCATION,
                change.location_id,
                description,
                product=product,
                location_id=change.location_id,
                source=change.source,
            )
        )
    return unmapped


def _mismatches(
    result: RecordedChange, products: Mapping[str, Product], locations: Mapping[str, Location]
) -> list[tuple[str, Incident | None]]:
    """The mismatches that a result raises or ends, by subject; None if the mismatch is over."""
    change = result.change

    def incident(subject: str, description: str) -> Incident:
        return Incident(
            MISMATCH,
            subject,
            description,
            location=locations.get(change.location_id),
            product=products.get(change.sku),
            sku=change.sku,
            location_id=change.location_id,
            source=change.source,
        )

    stock = f"{change.sku} at {change.location_id}"
    if result.cause is QuarantineCause.RECOUNT:
        return [
            (recount_subject(result), incident(recount_subject(result), f"{stock}: {change.source} {result.reason}."))
        ]
    if result.result is ChangeResult.ACCEPTED and change.count is not None and result.difference is None:
        return [(recount_subject(result), None)]
    if result.difference is None:
        return []
    if not result.mismatch:
        return [(observation_subject(result), None)]
    difference = f"{unit_count_text(abs(result.difference))} {'more' if result.difference > 0 else 'fewer'}"
    description = (
        f"{change.source} reports {difference} of {stock} than are on hand; count again there or fix the feed."
    )
    return [(observation_subject(result), incident(observation_subject(result), description))]
