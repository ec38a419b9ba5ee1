"""Lists that end at `--limit`, and names in their filters that the catalog does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from service.cli import unknown_names
from service.cli.client import AnyListRequest, AnyListResponse, Call, Client, Entry
from service.cli.console import count, say


async def matching(
    client: Client,
    call: Call[AnyListRequest, AnyListResponse],
    request: AnyListRequest,
    entries: Callable[[AnyListResponse], Iterable[Entry]],
    limit: int,
    *,
    skus: Iterable[str] | None = None,
    location_ids: Iterable[str] | None = None,
    channel_ids: Iterable[str] | None = None,
) -> tuple[list[Entry], bool, list[str]]:
    """At most `limit` entries, whether there are more, and sentences about unknown names of the filters.

    Unknown names are looked for only if there is no entry. Raises ServiceError.
    """
    listed, more = await client.list_entries(call, request, entries, limit)
    if listed:
        return listed, more, []
    unknown = await unknown_names.without_entries(
        client, skus=skus or (), location_ids=location_ids or (), channel_ids=channel_ids or ()
    )
    return listed, more, unknown


def say_more(shown: int, noun: str, plural: str | None = None, *, more: bool, end: str = "first") -> None:
    """Says on stderr that a list is cut, if there is `more`: programs that read its JSON have to know, too."""
    if more:
        say(f"Only the {end} {count(shown, noun, plural)}; filter the list, or raise --limit for more.")
