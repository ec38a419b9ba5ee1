from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime

import pytest
from starlette.applications import Starlette

from tests.fakes.clock import Clock
from tests.fakes.webhooks import Delivery, WebhookSender


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 30])
async def test_a_channel_that_stops_leaves_no_webhook_half_sent(steps: int) -> None:
    """What is left when a loop ends is cancelled while it connects, of which Python warns in some later test."""
    webhooks = WebhookSender(Clock(datetime.now(UTC)), lambda *_: {}, retry_after=(), answer_within=5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with webhooks.lifespan(Starlette()):
            for _ in range(150):
                webhooks.send(Delivery(f"http://127.0.0.1:{silent.getsockname()[1]}/", lambda _: b"{}"))
            for _ in range(steps):
                await asyncio.sleep(0)

    assert asyncio.all_tasks() == {asyncio.current_task()}
