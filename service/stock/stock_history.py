"""What happened to stock figures since a moment at their source: read from the ledger, and from what is being recorded.

A count is of a moment that is past. What moved after it belongs on top of it, wherever it stands in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, case, cast, func, literal_column, select

from policies.stock.counting import MOVEMENT_SIGNS, SETTING_ASIDE_SIGNS, on_hand_effect, unavailable_effect
from policies.stock.unavailable import reason_of
from service.database.database import Connection, Statement, transposed, unnested
from service.database.tables import Moment, stock_movement
from service.stock.stock_book import Key, Movement

Moments = set[tuple[Key, datetime]]
"""((SKU, location id), time at the source)."""

_movement = stock_movement.c
_IS_COUNT = _movement.kind == literal_column("'counted'")


def _effect(accepted: ColumnElement[int], signs: dict[str, int]) -> ColumnElement[Any]:
    """What a movement would do if it counted: also of one that was absorbed by a count."""
    whens: list[tuple[Any, Any]] = [
        (_movement.kind == literal_column(f"'{kind}'"), literal_column(str(sign))) for kind, sign in signs.items()
    ]
    stated = func.coalesce(_movement.reported_count, literal_column("0")) * case(*whens, else_=literal_column("0"))
    return case((_movement.result == literal_column("'absorbed'"), stated), else_=accepted)


_at = unnested("at", sku=Text, location_id=Text, since=Moment)
_after = (
    (_movement.sku == _at.c.sku)
    & (_movement.location_id == _at.c.location_id)
    & (_movement.effective_time > _at.c.since)
)
_ON_HAND = Statement(
    select(
        *(_at.c[name] for name in ("sku", "location_id", "since")),
        cast(func.sum(_effect(_movement.on_hand_delta, MOVEMENT_SIGNS)).filter(~_IS_COUNT), BigInteger).label("moved"),
        cast(func.sum(_movement.on_hand_delta), BigInteger).label("changed"),
    )
    .select_from(_at.join(stock_movement, _after))
    .group_by(_at.c.sku, _at.c.location_id, _at.c.since)
)
_UNAVAILABLE = Statement(
    select(
        *(_at.c[name] for name in ("sku", "location_id", "since")),
        _movement.reason,
        cast(func.sum(_effect(_movement.unavailable_delta, SETTING_ASIDE_SIGNS)).filter(~_IS_COUNT), BigInteger).label(
            "moved"
        ),
        cast(func.sum(_movement.unavailable_delta), BigInteger).label("changed"),
    )
    .select_from(_at.join(stock_movement, _after))
    .where((_movement.unavailable_delta != literal_column("0")) | (_movement.result == literal_column("'absorbed'")))
    .group_by(_at.c.sku, _at.c.location_id, _at.c.since, _movement.reason)
)

_net = unnested("at", sku=Text, location_id=Text, since=Moment, until=Moment)
_ALLOCATED = Statement(
    select(
        *(_net.c[name] for name in ("sku", "location_id", "since", "until")),
        cast(func.sum(_movement.allocated_delta), BigInteger).label("since_watermark"),
        cast(
            func.coalesce(func.sum(_movement.allocated_delta).filter(_movement.effective_time > _net.c.since), 0),
            BigInteger,
        ).label("since_count"),
    )
    .select_from(
        _net.join(
            stock_movement,
            (_movement.sku == _net.c.sku)
            & (_movement.location_id == _net.c.location_id)
            & (_movement.effective_time > _net.c.until),
        )
    )
    .where(_movement.allocated_delta != literal_column("0"))
    .group_by(_net.c.sku, _net.c.location_id, _net.c.since, _net.c.until, _movement.allocation_id)
)


@dataclass(slots=True)
class History:
    """What the ledger has after moments that counts are of, and what the transaction at hand has added to it.

    `add` tells it of each movement that is made. Units are summed over what counts and, where a count is to be put
    below them, over what an earlier count had absorbed.
    """

    on_hand: dict[tuple[Key, datetime], tuple[int, int]] = field(default_factory=dict)
    """(moved, changed) by moment: movements apart from counts, and all that changed the figure."""
    unavailable: dict[tuple[Key, datetime], dict[str, tuple[int, int]]] = field(default_factory=dict)
    """The same of unavailable units, by reason."""
    allocated: dict[tuple[Key, datetime, datetime], list[tuple[int, int]]] = field(default_factory=dict)
    """(since the watermark, since the count) of each order that changed, by (key, count, watermark)."""
    added: dict[Key, list[Movement]] = field(default_factory=dict)

    def add(self, movement: Movement) -> None:
        """Remembers a movement of the transaction at hand."""
        self.added.setdefault((movement.sku, movement.location_id), []).append(movement)

    def moved_since(self, key: Key, since: datetime) -> int:
        """Units that moved on hand after the moment, counts apart."""
        later = (m for m in self._added_after(key, since) if m.kind != "counted")
        return self.on_hand.get((key, since), (0, 0))[0] + sum(map(_on_hand_effect, later))

    def on_hand_change_since(self, key: Key, since: datetime) -> int:
        """Units by which the on-hand figure was changed by whatever is effective after the moment."""
        return self.on_hand.get((key, since), (0, 0))[1] + sum(m.on_hand for m in self._added_after(key, since))

    def made_unavailable_since(self, key: Key, since: datetime) -> dict[str, int]:
        """Units that were set aside after the moment less those put back, by reason, counts apart."""
        sums = {reason: moved for reason, (moved, _) in self.unavailable.get((key, since), {}).items()}
        for movement in self._added_after(key, since):
            if movement.kind != "counted":
                reason = reason_of(movement.reason)
                sums[reason] = sums.get(reason, 0) + _unavailable_effect(movement)
        return sums

    def unavailable_change_since(self, key: Key, since: datetime) -> int:
        """Units by which the unavailable figure was changed by whatever is effective after the moment."""
        known = sum(changed for _, changed in self.unavailable.get((key, since), {}).values())
        return known + sum(m.unavailable for m in self._added_after(key, since))

    def _added_after(self, key: Key, since: datetime) -> Iterable[Movement]:
        return (movement for movement in self.added.get(key, ()) if movement.effective_time > since)


async def read(
    connection: Connection, moments: Moments, aside: Moments, net: set[tuple[Key, datetime, datetime]]
) -> History:
    """The history after `moments`; that of unavailable units after `aside`; of allocated ones for `net` counts.

    `net` are (key, time of the count, watermark). To be read once the levels are locked.
    """
    history = History()
    names = ["sku", "location_id", "since"]
    if moments:
        rows = sorted((*key, since) for key, since in moments)
        for r in await _ON_HAND.rows(connection, **transposed(names, rows)):
            history.on_hand[(r["sku"], r["location_id"]), r["since"]] = (r["moved"] or 0, r["changed"] or 0)
    if aside:
        rows = sorted((*key, since) for key, since in aside)
        for r in await _UNAVAILABLE.rows(connection, **transposed(names, rows)):
            _add_reason(history.unavailable.setdefault(((r["sku"], r["location_id"]), r["since"]), {}), r)
    if net:
        watermarks = sorted((*key, since, until) for key, since, until in net)
        for r in await _ALLOCATED.rows(connection, **transposed([*names, "until"], watermarks)):
            at = ((r["sku"], r["location_id"]), r["since"], r["until"])
            history.allocated.setdefault(at, []).append((r["since_watermark"], r["since_count"]))
    return history


def _add_reason(sums: dict[str, tuple[int, int]], row: Any) -> None:
    reason = reason_of(row["reason"])
    moved, changed = sums.get(reason, (0, 0))
    sums[reason] = (moved + (row["moved"] or 0), changed + (row["changed"] or 0))


def _on_hand_effect(movement: Movement) -> int:
    return (
        on_hand_effect(movement.kind, movement.reported_count or 0)
        if movement.result == "absorbed"
        else movement.on_hand
    )


def _unavailable_effect(movement: Movement) -> int:
    absorbed = movement.result == "absorbed"
    return unavailable_effect(movement.kind, movement.reported_count or 0) if absorbed else movement.unavailable
