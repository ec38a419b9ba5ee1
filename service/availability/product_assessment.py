"""Computes the availability of one product so that an unexpected error with it does not fail the answer of others."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import structlog

from policies.decisions.availability.sellable import Availability, assess_availability
from policies.decisions.availability.tried_orders import TriedOrders
from policies.decisions.kits.kit_availability import assess_kit
from policies.decisions.pickup import largest_pickup
from policies.domain.kits import Kit
from policies.domain.model import Channel, Destination, World
from policies.domain.remembered import remember
from policies.policy_set import PolicySet

log = structlog.get_logger(__name__)

_LOGGED_ERRORS = 1_000
"""Errors that are remembered, so that each is logged once and not with every answer."""
_error_ids: dict[tuple[str, str, str], str] = {}
"""Ids of logged errors by (revision of the rules, channel, SKU)."""


@dataclass(frozen=True, slots=True)
class ProductProblem:
    """A product whose availability could not be computed, and why, as a sentence for the caller."""

    sku: str
    description: str


def assess_product(
    policy_set: PolicySet,
    world: World,
    channel: Channel,
    sku: str,
    *,
    method: str | None = None,
    destination: Destination | None = None,
    kit: Kit | None = None,
    by_day: bool = False,
) -> Availability | ProductProblem:
    """The availability of one product for a channel, or the problem that prevents it, which is logged once.

    `kit` is set if the product is a kit; its components are in the world too. `by_day` asks for delivery days.
    """
    try:
        if kit is not None:
            return assess_kit(policy_set, world, channel, kit, method=method, destination=destination, by_day=by_day)
        return assess_availability(
            policy_set, world, channel, sku, method=method, destination=destination, by_day=by_day
        )
    except Exception:
        error_id = _log_once(policy_set.revision, channel.id, sku)
        return ProductProblem(
            sku,
            f"the availability of '{sku}' could not be computed, so nothing of it is sellable; check its record and "
            f"stock, and quote error id {error_id} in a support ticket",
        )


def largest_pickup_order(tried: TriedOrders) -> int:
    """The most that one order to pick up at a chosen location gets; 0 if it could not be computed, which is logged."""
    try:
        return largest_pickup(tried)
    except Exception:
        _log_once(tried.policy_set.revision, tried.channel.id, tried.sku)
        return 0


def _log_once(revision: str, channel_id: str, sku: str) -> str:
    key = (revision, channel_id, sku)
    if key not in _error_ids:
        remember(_error_ids, key, uuid.uuid4().hex, at_most=_LOGGED_ERRORS)
        log.exception("availability of one product failed", sku=sku, channel=channel_id, error_id=_error_ids[key])
    return _error_ids[key]
