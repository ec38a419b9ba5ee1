"""Webhooks for the benchmark of the intake, and the account that they are for."""

from __future__ import annotations

import hmac
import json
from itertools import count

from service.channels.tiktok_shop.signature import WEBHOOK_HEADER

ACCOUNT = "bench"
SECRETS = {"APP_KEY": "key-of-the-benchmark", "APP_SECRET": "secret-of-the-benchmark"}
_numbers = count(577_000_000_000_000_001)


def next_delivery(path: str) -> bytes:
    """One HTTP request, signed, about an order that was not heard of before."""
    number = next(_numbers)
    data = {"order_id": str(number), "order_status": "AWAITING_SHIPMENT", "update_time": 1_790_000_000}
    message = {"type": 1, "shop_id": "1", "timestamp": 1_790_000_000, "tts_notification_id": str(number), "data": data}
    body = json.dumps(message).encode()
    signed = SECRETS["APP_KEY"].encode() + body
    signature = hmac.new(SECRETS["APP_SECRET"].encode(), signed, "sha256").hexdigest()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: bench\r\n{WEBHOOK_HEADER}: {signature}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
