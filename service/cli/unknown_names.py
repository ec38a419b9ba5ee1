"""Names that the catalog does not have, with those that were probably meant: what an empty list would leave open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from policies.domain.near_names import near_names
from service.cli.client import Client
from service.cli.console import EXIT_UNKNOWN, UserError


async def unknown_products(client: Client, skus: Sequence[str]) -> list[str]:
    """A sentence about each SKU that no product has."""
    known = {product.sku for product in await client.products(list(skus))} if skus else set()
    unknown = [sku for sku in skus if sku not in known]
    return sentences("product", unknown, await client.near_skus(unknown))


async def unknown_locations(client: Client, ids: Iterable[str]) -> list[str]:
    """A sentence about each id that no location has."""
    wanted = list(ids)
    known = [location.location_id for location in await client.locations()] if wanted else []
    return _unknown("location", wanted, known)


async def unknown_channels(client: Client, ids: Iterable[str]) -> list[str]:
    """A sentence about each id that no channel has."""
    wanted = list(ids)
    known = [channel.channel_id for channel in await client.channels()] if wanted else []
    return _unknown("channel", wanted, known)


async def unknown_words(client: Client, *, tags: Iterable[str] = (), categories: Iterable[str] = ()) -> list[str]:
    """A sentence about each tag and each category that no record has."""
    wanted_tags, wanted_categories = list(tags), list(categories)
    known_tags = [tag.name for tag in await client.tags()] if wanted_tags else []
    known_categories = [category.name for category in await client.categories()] if wanted_categories else []
    return [
        *_unknown("tag", wanted_tags, known_tags),
        *_unknown("category", wanted_categories, known_categories),
    ]


async def without_entries(
    client: Client, *, skus: Iterable[str] = (), location_ids: Iterable[str] = (), channel_ids: Iterable[str] = ()
) -> list[str]:
    """A sentence about each of these names, for which a list has no entry, that the catalog does not have."""
    return [
        *await unknown_products(client, list(skus)),
        *await unknown_locations(client, location_ids),
        *await unknown_channels(client, channel_ids),
    ]


def sentences(noun: str, unknown: Iterable[str], near: Mapping[str, str]) -> list[str]:
    """A sentence about each unknown name; `near` has those that were probably meant."""
    return [
        f"There is no {noun} {name!r}" + (f"; did you mean {near[name]!r}?" if name in near else ".")
        for name in dict.fromkeys(unknown)
    ]


def _unknown(noun: str, wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    unknown = [name for name in wanted if name not in known]
    return sentences(noun, unknown, near_names(unknown, known))


def refuse_unknown(unknown: Sequence[str]) -> None:
    """Ends the command with EXIT_UNKNOWN and the sentences, if there is one."""
    if unknown:
        raise UserError("\n".join(unknown), code="UNKNOWN_NAMES", exit_code=EXIT_UNKNOWN)
