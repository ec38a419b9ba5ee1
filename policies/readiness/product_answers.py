"""Products and mappings: whether what the channel sells is complete, and known under both names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from policies.readiness import questions
from policies.readiness.answers import Answer, counted, fails, listed, passes, warns

ATTRIBUTES = ("status", "barcode", "category", "image", "weight", "dimensions")
"""What a product needs; a kit has no weight and dimensions of its own."""
TILL_ATTRIBUTES = ("status", "barcode")
"""What a product needs that is sold at a till."""


@dataclass(frozen=True, slots=True)
class Lacking:
    """Products that lack something: how many, and the first of them by SKU."""

    count: int
    skus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotListable:
    """Products whose attribute is not as the channel's platform requires: how many, and the first with its problem."""

    count: int
    sku: str
    problem: str
    owner: str


@dataclass(frozen=True, slots=True)
class ProductFacts:
    """The products of a channel. `lacking` is by attribute, without those that every product has.

    `platform` is that of the channel if the rules state what it requires of listings: these decide then, and
    `not_listable` is what is wrong by attribute. `shared_barcodes` are barcodes of several active products,
    `mixed_styles` styles whose variants are in several categories, each with the SKUs.
    """

    product_count: int
    lacking: Mapping[str, Lacking] = field(default_factory=dict)
    shared_barcodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mixed_styles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    platform: str | None = None
    not_listable: Mapping[str, NotListable] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """A channel's items. `unmapped_item_ids` were ordered or counted and are not mapped to a product.

    `inactive_items` are mapped to a product that is not active, or that no longer exists: its SKU by item.
    `unlisted_skus` are active products with stock for the channel without an item, the first of `unlisted_count`.
    """

    item_count: int
    unmapped_item_ids: tuple[str, ...] = ()
    inactive_items: Mapping[str, str] = field(default_factory=dict)
    unlisted_count: int = 0
    unlisted_skus: tuple[str, ...] = ()


def product_data(facts: ProductFacts, channel_kind: str) -> Answer:
    """Whether every product has what the channel needs of it: what its platform requires, or else ATTRIBUTES."""
    question = questions.PRODUCT_DATA
    if not facts.product_count:
        advice = "import products with `truestock import products`, and count their stock."
        return fails(question, "the channel has no product to sell", advice)
    needed = _needed(facts, channel_kind)
    problems = [
        f"{_lack(name, lacking.count)}: {listed(lacking.skus, lacking.count)}"
        for name in needed
        if (lacking := facts.lacking.get(name)) is not None
    ]
    problems += [_not_listable_text(attribute, x) for attribute, x in facts.not_listable.items()]
    problems += [f"barcode {code} is that of {listed(skus)}" for code, skus in facts.shared_barcodes.items()]
    if problems:
        finding = f"{counted(facts.product_count, 'product')}, not all of them complete and unambiguous"
        advice = "complete them with `truestock import products`, and give each active product a barcode of its own."
        if facts.not_listable:
            advice = f"see `truestock products check`, and {advice}"
        return fails(question, finding, advice, problems)
    if facts.mixed_styles:
        details = [f"style {style}: {listed(skus)}" for style, skus in facts.mixed_styles.items()]
        finding = f"{counted(len(facts.mixed_styles), 'style')} with variants in several categories"
        return warns(question, finding, "give all variants of a style one category.", details)
    products = counted(facts.product_count, "product")
    if facts.platform is not None:
        return passes(question, f"{products} with all that {facts.platform} requires")
    return passes(question, f"{products} with {', '.join(needed)}")


def items_mapped(facts: ItemFacts) -> Answer:
    """Whether each item stands for an active product, and each product has an item if the channel uses any."""
    question = questions.ITEMS_MAPPED
    details = [f"item {item_id} is not mapped" for item_id in facts.unmapped_item_ids]
    details += [f"item {item} is mapped to {sku}, which is not active" for item, sku in facts.inactive_items.items()]
    if details:
        advice = "map them with `truestock import listings`, or take them off the channel."
        return fails(question, f"{counted(len(details), 'item')} without an active product", advice, details)
    if not facts.item_count:
        return passes(question, "the channel names products by SKU")
    if facts.unlisted_count:
        finding = f"{counted(facts.unlisted_count, 'product')} with stock and without an item on the channel"
        advice = "map their items, or make sure that the channel names these products by SKU."
        return warns(question, finding, advice, [listed(facts.unlisted_skus, facts.unlisted_count)])
    return passes(question, f"{counted(facts.item_count, 'item')}, each mapped to an active product")


def outlets_mapped(outlets: Mapping[str, frozenset[str]], location_ids: Sequence[str]) -> Answer:
    """Whether each of the channel's outlets has locations that it may sell from, and each of those is in an outlet."""
    question = questions.OUTLETS_MAPPED
    if not outlets:
        return passes(question, "the channel knows no outlets: it is told the sum of its locations")
    contributing = frozenset(location_ids)
    details = [
        f"outlet {outlet} has no location that the channel may sell from"
        for outlet, locations in sorted(outlets.items())
        if not locations & contributing
    ]
    in_outlets = frozenset[str]().union(*outlets.values())
    details += [f"{location} is in no outlet" for location in sorted(contributing - in_outlets)]
    details += [f"{location} is in an outlet, and not of the channel" for location in sorted(in_outlets - contributing)]
    if details:
        advice = (
            "mend them with `truestock import outlets` and `truestock import pools`, or change the channel's locations."
        )
        return fails(question, f"outlets and locations differ in {counted(len(details), 'place')}", advice, details)
    return passes(question, f"{counted(len(outlets), 'outlet')} for {counted(len(contributing), 'location')}")


def locations_decided(channel_location_ids: frozenset[str], outlet_count: int, usable_ids: Sequence[str]) -> Answer:
    """Whether the channel names its locations, by itself or by outlets, and at least one of them is not closed."""
    question = questions.LOCATIONS_DECIDED
    if not usable_ids:
        advice = "open a location, or add one that is open to the channel with `truestock import channels`."
        return fails(question, "no location of the channel is open", advice)
    if not channel_location_ids and not outlet_count:
        finding = f"the channel names no location, so it sells from all: {listed(usable_ids)}"
        advice = "name its locations in `truestock import channels`, or its outlets in `truestock import outlets`."
        return fails(question, finding, advice)
    how = "named by the channel" if channel_location_ids else "named by its outlets"
    return passes(question, f"{counted(len(usable_ids), 'location')}, {how}")


def _needed(facts: ProductFacts, channel_kind: str) -> Sequence[str]:
    if facts.platform is not None:
        return ("status",)
    return TILL_ATTRIBUTES if channel_kind == "pos" else ATTRIBUTES


def _not_listable_text(attribute: str, wrong: NotListable) -> str:
    products = counted(wrong.count, "product")
    return f"{attribute} of {products}, such as {wrong.sku}: {wrong.problem} ({wrong.owner})"


def _lack(attribute: str, count: int) -> str:
    noun = counted(count, "product")
    return f"{noun} listed and not active" if attribute == "status" else f"{noun} without {attribute}"
