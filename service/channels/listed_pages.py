"""Pages of a platform's lists: one that names a page again which it has given would never end."""

from __future__ import annotations

from service.channels.errors import Unreadable


class ListedPages:
    """The pages of one list that were asked for."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    def following(self, page: str) -> str:
        """`page`, which comes next; empty for none. Raises Unreadable where it was asked for already."""
        if page in self._asked:
            raise Unreadable("the platform says that a page of a list comes again, so that the list has no end")
        self._asked.update([page] if page else [])
        return page
