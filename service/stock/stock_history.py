"""Changes of stock levels after a moment: from the ledger, and from the transaction at hand.

A count is of a past moment. Movements that are effective after it are added to it, in any order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, case, cast, func, literal_column, select

from policies.stock.confidence import CORRECTIONS, moves_goods
from policies.stock.counting import ON_HAND_SIGNS, SETTING_ASIDE_SIGNS, ChangeResult, on_hand_effect, unavailable_effect
from policies.stock.unavailable import reason_of
from service.database.database import Connection, Statement, transposed, unnested
from service.database.tables import Moment, stock_movement
from service.stock.stock_book import Key, Movement

CountMoments = set[tuple[Key, datetime]]
"""((SKU, location id), time of the count at its source)."""

_movement = stock_movement.c
_IS_COUNT = _movement.kind == literal_column("'counted'")
_IS_ABSORBED = _movement.result == literal_column(f"'{ChangeResult.ABSORBED}'")
_MOVES_GOODS = (_movement.on_hand_delta != literal_column("0")) & _movement.kind.not_in(
    [literal_column(f"'{kind}'") for kind in sorted(CORRECTIONS)]
)


def movement_effect(accepted: ColumnElement[int], signs: dict[str, int]) -> ColumnElement[Any]:
    """The units that a movement changes; if a count absorbed it (already included it), the units that it states."""
    sign_by_kind: list[tuple[Any, Any]] = [
        (_movement.kind == literal_column(f"'{kind}'"), literal_column(str(sign))) for kind, sign in signs.items()
    ]
    stated = func.coalesce(_movement.reported_count, literal_column("0")) * case(
        *sign_by_kind, else_=literal_column("0")
    )
    # A count with a higher sequence is the newer one even if its time is earlier. Movements that the previous count
    # absorbed may then lie after the new count, and are added to it.
    return case((_IS_ABSORBED, stated), else_=accepted)


_since = unnested("at", sku=Text, location_id=Text, since=Moment)
_after = (
    (_movement.sku == _since.c.sku)
    & (_movement.location_id == _since.c.location_id)
    & (_movement.effective_time > _since.c.since)
)
_ON_HAND = Statement(
    select(
        *(_since.c[name] for name in ("sku", "location_id", "since")),
        cast(func.sum(movement_effect(_movement.on_hand_delta, ON_HAND_SIGNS)).filter(~_IS_COUNT), BigInteger).label(
            "moved"
        ),
        cast(func.sum(_movement.on_hand_delta), BigInteger).label("changed"),
        func.count().filter(_MOVES_GOODS).label("movements"),
    )
    .select_from(_since.join(stock_movement, _after))
    .group_by(_since.c.sku, _since.c.location_id, _since.c.since)
)
_UNAVAILABLE = Statement(
    select(
        *(_since.c[name] for name in ("sku", "location_id", "since")),
        _movement.reason,
        cast(
            func.sum(movement_effect(_movement.unavailable_delta, SETTING_ASIDE_SIGNS)).filter(~_IS_COUNT), BigInteger
        ).label("moved"),
        cast(func.sum(_movement.unavailable_delta), BigInteger).label("changed"),
    )
    .select_from(_since.join(stock_movement, _after))
    .where((_movement.unavailable_delta != literal_column("0")) | _IS_ABSORBED)
    .group_by(_since.c.sku, _since.c.location_id, _since.c.since, _movement.reason)
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
    """Movements in the ledger after the moments of counts, and those that the transaction at hand adds with `add`.

    Sums are over movements that changed the figure and, for a new count that lies before them, also over movements
    that an earlier count absorbed.
    """

    on_hand: dict[tuple[Key, datetime], tuple[int, int, int]] = field(default_factory=dict)
    """(moved, changed, movements) by moment: units of all movements but counts, the change of the figure, and how many
    movements brought or took goods."""
    unavailable: dict[tuple[Key, datetime], dict[str, tuple[int, int]]] = field(default_factory=dict)
    """The same for unavailable units, by reason."""
    allocated: dict[tuple[Key, datetime, datetime], list[tuple[int, int]]] = field(default_factory=dict)
    """(units since the watermark, units since the count) of each changed order, by (key, count, watermark)."""
    added: dict[Key, list[Movement]] = field(default_factory=dict)

    def add(self, movement: Movement) -> None:
        """Adds a movement of the transaction at hand."""
        self.added.setdefault((movement.sku, movement.location_id), []).append(movement)

    def moved_since(self, key: Key, since: datetime) -> int:
        """On-hand units of movements after the moment, without counts."""
        later = (m for m in self._added_after(key, since) if m.kind != "counted")
        return self.on_hand.get((key, since), (0, 0, 0))[0] + sum(map(_on_hand_effect, later))

    def on_hand_change_since(self, key: Key, since: datetime) -> int:
        """Change of the on-hand figure by everything effective after the moment, in units."""
        return self.on_hand.get((key, since), (0, 0, 0))[1] + sum(m.on_hand for m in self._added_after(key, since))

    def movements_since(self, key: Key, since: datetime) -> int:
        """How many movements after the moment brought or took goods."""
        later = (m for m in self._added_after(key, since) if moves_goods(m.kind, m.on_hand))
        return self.on_hand.get((key, since), (0, 0, 0))[2] + sum(1 for _ in later)

    def made_unavailable_since(self, key: Key, since: datetime) -> dict[str, int]:
        """Units set aside after the moment minus units put back, by reason, without counts."""
        sums = {reason: moved for reason, (moved, _) in self.unavailable.get((key, since), {}).items()}
        for movement in self._added_after(key, since):
            if movement.kind != "counted":
                reason = reason_of(movement.reason)
                sums[reason] = sums.get(reason, 0) + _unavailable_effect(movement)
        return sums

    def unavailable_change_since(self, key: Key, since: datetime) -> int:
        """Change of the unavailable figure by everything effective after the moment, in units."""
        recorded = sum(changed for _, changed in self.unavailable.get((key, since), {}).values())
        return recorded + sum(m.unavailable for m in self._added_after(key, since))

    def _added_after(self, key: Key, since: datetime) -> Iterable[Movement]:
        return (movement for movement in self.added.get(key, ()) if movement.effective_time > since)


async def read(
    connection: Connection, moments: CountMoments, unavailable: CountMoments, net: set[tuple[Key, datetime, datetime]]
) -> History:
    """Reads on-hand history after `moments`, unavailable after `unavailable`, and allocated units for `net` counts.

    `net` are (key, time of the count, watermark). Call it after the levels are locked.
    """
    history = History()
    names = ["sku", "location_id", "since"]
    if moments:
        rows = sorted((*key, since) for key, since in moments)
        for row in await _ON_HAND.rows(connection, **transposed(names, rows)):
            key = (row["sku"], row["location_id"])
            history.on_hand[key, row["since"]] = (row["moved"] or 0, row["changed"] or 0, row["movements"])
    if unavailable:
        rows = sorted((*key, since) for key, since in unavailable)
        for row in await _UNAVAILABLE.rows(connection, **transposed(names, rows)):
            _add_reason(history.unavailable.setdefault(((row["sku"], row["location_id"]), row["since"]), {}), row)
    if net:
        watermarks = sorted((*key, since, until) for key, since, until in net)
        for row in await _ALLOCATED.rows(connection, **transposed([*names, "until"], watermarks)):
            count_key = ((row["sku"], row["location_id"]), row["since"], row["until"])
            history.allocated.setdefault(count_key, []).append((row["since_watermark"], row["since_count"]))
    return history


def _add_reason(sums: dict[str, tuple[int, int]], row: Any) -> None:
    reason = reason_of(row["reason"])
    moved, changed = sums.get(reason, (0, 0))
    sums[reason] = (moved + (row["moved"] or 0), changed + (row["changed"] or 0))


def _on_hand_effect(movement: Movement) -> int:
    is_absorbed = movement.result is ChangeResult.ABSORBED
    return on_hand_effect(movement.kind, movement.reported_count or 0) if is_absorbed else movement.on_hand


def _unavailable_effect(movement: Movement) -> int:
    is_absorbed = movement.result is ChangeResult.ABSORBED
    return unavailable_effect(movement.kind, movement.reported_count or 0) if is_absorbed else movement.unavailable
