"""Proposes which location an outlet is and which SKU an item is: exact matches only, no guess between two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from service.channels.adapter import ExternalItem, ExternalOutlet

POOL = "pool:"
"""Before the id of a pool, where an outlet may be a location or a pool."""


class Match(StrEnum):
    """How sure a proposal is."""

    MAPPED = "mapped"
    EXACT = "exact"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What an outlet or an item of the channel is in Truestock; `truestock_id` is empty where nobody can tell."""

    what: str
    """`outlet` or `item`."""
    external_id: str
    external_name: str
    truestock_id: str
    unit_count: int
    match: Match
    reason: str


def outlet_proposals(
    outlets: Iterable[ExternalOutlet], mapped: Mapping[str, str], names: Mapping[str, Sequence[str]]
) -> list[Proposal]:
    """One proposal for each outlet. `mapped` are locations or pools by outlet, `names` location ids by their names."""
    return [_outlet(outlet, mapped.get(outlet.outlet_id, ""), names.get(outlet.name, ())) for outlet in outlets]


def item_proposals(
    items: Iterable[ExternalItem], mapped: Mapping[str, tuple[str, int]], skus: Iterable[str], near: Mapping[str, str]
) -> list[Proposal]:
    """One proposal for each item. `mapped` are SKUs with units by item, `near` a known SKU by an unknown one."""
    known = frozenset(skus)
    return [_item(item, mapped.get(item.item_id), known, near.get(item.sku, "")) for item in items]


def _outlet(outlet: ExternalOutlet, mapped: str, candidates: Sequence[str]) -> Proposal:
    def proposal(truestock_id: str, match: Match, reason: str) -> Proposal:
        return Proposal("outlet", outlet.outlet_id, outlet.name, truestock_id, 1, match, reason)

    if mapped:
        return proposal(mapped, Match.MAPPED, "is mapped already")
    if len(candidates) == 1:
        return proposal(candidates[0], Match.EXACT, "a location has this id or name")
    if candidates:
        return proposal("", Match.NONE, f"more than one location has this name: {', '.join(sorted(candidates))}")
    return proposal("", Match.NONE, f"no location has this id or name; write a location's id, or {POOL}POOL")


def _item(item: ExternalItem, mapped: tuple[str, int] | None, known: frozenset[str], near: str) -> Proposal:
    def proposal(truestock_id: str, units: int, match: Match, reason: str) -> Proposal:
        return Proposal("item", item.item_id, item.sku, truestock_id, units, match, reason)

    if mapped is not None:
        return proposal(*mapped, Match.MAPPED, "is mapped already")
    if item.sku in known:
        return proposal(item.sku, 1, Match.EXACT, "the seller's SKU there is this SKU")
    if not item.sku:
        return proposal("", 1, Match.NONE, "the channel has no seller's SKU of it")
    hint = f"; is it {near}?" if near else ""
    return proposal("", 1, Match.NONE, f"no product has this SKU{hint}")
