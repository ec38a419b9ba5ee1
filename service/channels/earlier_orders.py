"""Orders that had left before the connectors knew their shop: no count has their units, so nothing is promised."""

from __future__ import annotations

from service.channels.effects import Left, Reading, TakeOrder, TakeReturn
from service.channels.errors import LeftBefore, NotArrived
from service.channels.running_account import RunningAccount

ORDER = "order"
"""What platforms call orders among their `Abilities.kinds`."""
LEFT_BEFORE = "left_before"


class EarlierOrders:
    """Tells what of an account is left out because its order is."""

    def __init__(self, running: RunningAccount) -> None:
        self._running = running

    async def left_out(self, reading: Reading) -> str:
        """Why nothing of an order is done; empty where it is to be taken. Raises LeftBefore where a person must act."""
        order = next((effect for effect in reading.effects if isinstance(effect, TakeOrder)), None)
        if order is None or not self._is_earlier(order) or await self._running.api.is_known(order.order_id):
            return ""
        if order.left is Left.A_PART:
            said = f"a part of order {order.order_id} had left before it was read here"
            raise LeftBefore(f"{said}; send the rest by hand")
        self._check_goods(reading)
        return LEFT_BEFORE

    async def left_out_with_its_order(self, reading: Reading, error: NotArrived) -> str:
        """The same of a return, whose order Truestock does not know. Raises `error` where it is not left out."""
        if ORDER not in self._running.platform.abilities.kinds:
            raise error
        order = (await self._running.adapter.read(ORDER, [error.order_id])).get(error.order_id)
        if not isinstance(order, Reading):
            raise error
        if order.left_out:
            return order.left_out
        if not await self.left_out(order):
            raise error
        self._check_goods(reading)
        return LEFT_BEFORE

    def _is_earlier(self, order: TakeOrder) -> bool:
        start = self._running.start_time
        is_placed_before = start is not None and order.placed_time is not None and order.placed_time < start
        return is_placed_before and order.left is not Left.NOTHING

    def _check_goods(self, reading: Reading) -> None:
        """Raises LeftBefore where units came back since: they are on a shelf, and nothing here knows of them."""
        start = self._running.start_time
        for effect in reading.effects:
            if isinstance(effect, TakeReturn) and effect.has_goods and (start is None or effect.time >= start):
                said = f"units of order {effect.order_id}, which had left before it was read here, came back"
                raise LeftBefore(f"{said}; count them where they are")
