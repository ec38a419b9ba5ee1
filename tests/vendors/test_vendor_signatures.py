"""Our signatures, checked by the vendors' own code."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any
from urllib.parse import urlencode

import pytest

from service.channels.shopify import signature as shopify
from service.channels.square import signature as square
from service.channels.tiktok_shop import signature as tiktok_shop
from tests.vendors.presence import NEEDS_NPM, NEEDS_SQUARE, NEEDS_TIKTOK, node

pytestmark = pytest.mark.long

BODIES = ('{"id":1}', '{"note":"Ærø ☃ 日本"}', '{"id":1732301361504355959,"spaces":  "kept"}\n')
URL = "https://shop.example/webhooks/square-austin"
HEADERS = {
    "x-shopify-topic": "orders/create",
    "x-shopify-shop-domain": "some-shop.myshopify.com",
    "x-shopify-api-version": "2026-04",
    "x-shopify-webhook-id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
}


def shopify_case(body: str, secret: str) -> dict[str, Any]:
    signature = shopify.webhook_signature(body.encode(), secret)
    return {"body": body, "secret": "hush", "headers": {**HEADERS, shopify.WEBHOOK_HEADER: signature}}


def redirect_case(state: str) -> dict[str, Any]:
    """A redirect as Shopify's client signs it, and whether we take it."""
    query = {"code": "0907a61c", "shop": "some-shop.myshopify.com", "state": state, "timestamp": str(int(time.time()))}
    signed = urlencode(sorted(query.items()), safe="*").replace("~", "%7E").encode()
    return {"query": {**query, "hmac": hmac.new(b"hush", signed, hashlib.sha256).hexdigest()}, "secret": "hush"}


def square_case(body: str, key: str, url: str = URL) -> dict[str, Any]:
    return {"body": body, "url": URL, "key": "key", "signature": square.webhook_signature(url, body.encode(), key)}


@NEEDS_NPM
def test_shopify_and_square_take_our_signatures_and_no_others() -> None:
    redirects = [redirect_case(state) for state in ("0.6784", "a:b=c +é~*", "")]
    answers = node(
        "signatures.mjs",
        {
            "shopify": [*(shopify_case(body, "hush") for body in BODIES), shopify_case(BODIES[0], "other")],
            "redirects": redirects,
            "square": [
                *(square_case(body, "key") for body in BODIES),
                square_case(BODIES[0], "other"),
                square_case(BODIES[0], "key", f"{URL}/"),
            ],
        },
    )

    assert answers["shopify"] == [True, True, True, False]
    assert answers["square"] == [True, True, True, False, False]
    ours = [shopify.is_genuine_redirect(redirect["query"].items(), ["hush"]) for redirect in redirects]
    assert answers["redirects"] == ours == [True, True, True]


@NEEDS_SQUARE
@pytest.mark.parametrize("body", BODIES)
def test_squares_client_for_python_takes_our_signatures(body: str) -> None:
    from square.utils.webhooks_helper import verify_signature

    def is_genuine(signature: str) -> bool:
        genuine: bool = verify_signature(
            request_body=body, signature_header=signature, signature_key="key", notification_url=URL
        )
        return genuine

    assert is_genuine(square.webhook_signature(URL, body.encode(), "key"))
    assert not is_genuine(square.webhook_signature(f"{URL}/", body.encode(), "key"))


@NEEDS_TIKTOK
@pytest.mark.parametrize("body", BODIES)
def test_a_client_of_tiktok_takes_our_signatures_of_webhooks(body: str) -> None:
    from tiktok_shop_api import Webhooks

    signature = tiktok_shop.webhook_signature("key", body.encode(), "123")

    assert Webhooks.verify(app_key="key", app_secret="123", raw_body=body.encode(), signature=signature)
    assert not Webhooks.verify(app_key="kez", app_secret="123", raw_body=body.encode(), signature=signature)


@NEEDS_TIKTOK
@pytest.mark.parametrize("body", [b"", *(body.encode() for body in BODIES)])
def test_a_client_of_tiktok_signs_calls_as_we_do(body: bytes) -> None:
    from tiktok_shop_api.signing import Signer

    query = [("timestamp", "1718305585"), ("app_key", "abc"), ("ids", "1,2"), ("app", "z é+&="), ("access_token", "x")]
    path = "/order/202309/orders/search"
    theirs = Signer.sign(path=path, query=query, content_type="application/json", body=body, app_secret="123")

    assert tiktok_shop.request_signature(path, query, body, "123") == theirs
