"""The webhook subscription of a Square application: it belongs to the application, not to a merchant."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from service.channels.adapter import Check, CheckKind, webhook_check
from service.channels.square.client import API_VERSION, Client

TOPICS = (
    "inventory.count.updated",
    "oauth.authorization.revoked",
    "order.created",
    "order.fulfillment.updated",
    "order.updated",
    "refund.created",
)
"""The webhooks that are subscribed: none of them says who the shopper is."""
MOST_PAGES = 100
_PATH = "/v2/webhooks/subscriptions"


def cannot_look(url: str) -> Check:
    """What to do where the application's own token is not among the secrets."""
    todo = (
        f"state the secret personal_access_token, by which it is subscribed; or subscribe {url} to "
        f"{', '.join(TOPICS)} in Square's Developer Console"
    )
    return Check("webhooks (not looked at)", True, todo)


async def ensured(client: Client, url: str, signature_key: str) -> list[Check]:
    """Subscribes a URL to what it lacks, and checks its key. Raises Away and Unreadable."""
    found = await _found(client, url)
    wanted = {"name": "Truestock", "enabled": True, "event_types": list(TOPICS)}
    if found is None:
        body = {"subscription": {**wanted, "notification_url": url, "api_version": API_VERSION}}
        found = (await client.call_as_owner("POST", _PATH, body))["subscription"]
    elif not found.get("enabled") or set(TOPICS) - set(found.get("event_types") or ()):
        await client.call_as_owner("PUT", f"{_PATH}/{found['id']}", {"subscription": wanted})
    is_ours = hmac.compare_digest(str(found.get("signature_key") or "").encode(), signature_key.encode())
    todo = "" if is_ours else "take the signature key of this subscription from Square's Developer Console"
    key = Check("secret signature_key", is_ours, todo, CheckKind.WEBHOOK)
    return [*map(webhook_check, TOPICS), key]


async def _found(client: Client, url: str) -> Mapping[str, Any] | None:
    cursor = ""
    for _ in range(MOST_PAGES):
        query = {"include_disabled": "true", **({"cursor": cursor} if cursor else {})}
        answer = await client.call_as_owner("GET", _PATH, query=query)
        for subscription in answer.get("subscriptions") or ():
            if subscription.get("notification_url") == url:
                found: Mapping[str, Any] = subscription
                return found
        cursor = str(answer.get("cursor") or "")
        if not cursor:
            break
    return None
