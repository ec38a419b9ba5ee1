import hashlib
import hmac

import pytest

from service.channels.shopify import signature as shopify
from service.channels.square import signature as square
from service.channels.tiktok_shop import signature as tiktok_shop

# Published with TikTok's "Webhooks overview": the app key is abcdef, the app secret 123.
TIKTOK_BODY = (
    b'{"type":1,"tts_notification_id":"7380066284010030890","shop_id":"7495540735365777507","timestamp":1718305585,'
    b'"data":{"is_on_hold_order":true,"order_id":"576653688135258178","order_status":"UNPAID","update_time":1718305585}}'
)
TIKTOK_SIGNATURE = "5dec0f11ec2f6783b8deee53c9ffbf8d024302f7c7e7fa55a35d17629031ac05"

# Published with the tests of Square's own clients.
SQUARE_URL = "https://webhook.site/679a4f3a-dcfa-49ee-bac5-9d0edad886b9"
SQUARE_KEY = "Ibxx_5AKakO-3qeNVR61Dw"
SQUARE_SIGNATURE = "GF4YkrJgGBDZ9NIYbNXBnMzqb2HoL4RW/S6vkZ9/2N4="
SQUARE_BODY = (
    b'{"merchant_id":"MLEFBHHSJGVHD","type":"webhooks.test_notification",'
    b'"event_id":"ac3ac95b-f97d-458c-a6e6-18981597e05f","created_at":"2022-07-13T20:30:59.037339943Z",'
    b'"data":{"type":"webhooks","id":"bc368e64-01aa-407e-b46e-3231809b1129"}}'
)

# The second test case of RFC 4231, which Shopify's rule only writes in base64.
RFC_4231_KEY, RFC_4231_DATA = "Jefe", b"what do ya want for nothing?"
RFC_4231_CODE = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")


def test_the_webhook_that_tiktok_publishes_as_an_example_is_genuine() -> None:
    assert tiktok_shop.webhook_signature("abcdef", TIKTOK_BODY, "123") == TIKTOK_SIGNATURE
    assert tiktok_shop.is_genuine(TIKTOK_SIGNATURE, "abcdef", TIKTOK_BODY, ["123"])


def test_the_webhook_that_square_publishes_as_an_example_is_genuine() -> None:
    assert square.webhook_signature(SQUARE_URL, SQUARE_BODY, SQUARE_KEY) == SQUARE_SIGNATURE
    assert square.is_genuine(SQUARE_SIGNATURE, SQUARE_URL, SQUARE_BODY, [SQUARE_KEY])


def test_a_webhook_of_shopify_is_signed_in_base64() -> None:
    signature = "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM="

    assert shopify.webhook_signature(RFC_4231_DATA, RFC_4231_KEY) == signature
    assert shopify.is_genuine(signature, RFC_4231_DATA, [RFC_4231_KEY])


@pytest.mark.parametrize("position", [0, 60, len(TIKTOK_BODY) - 1])
def test_a_body_with_one_other_byte_is_not_genuine(position: int) -> None:
    changed = bytearray(TIKTOK_BODY)
    changed[position] ^= 1

    assert not tiktok_shop.is_genuine(TIKTOK_SIGNATURE, "abcdef", bytes(changed), ["123"])


def test_a_webhook_without_a_signature_is_not_genuine() -> None:
    for missing in (None, ""):
        assert not tiktok_shop.is_genuine(missing, "abcdef", TIKTOK_BODY, ["123"])
        assert not shopify.is_genuine(missing, RFC_4231_DATA, [RFC_4231_KEY])
        assert not square.is_genuine(missing, SQUARE_URL, SQUARE_BODY, [SQUARE_KEY])


def test_while_a_secret_is_replaced_both_are_good_and_afterwards_only_the_new_one() -> None:
    by_new = tiktok_shop.webhook_signature("abcdef", TIKTOK_BODY, "new")

    assert tiktok_shop.is_genuine(by_new, "abcdef", TIKTOK_BODY, ["new", "123"])
    assert tiktok_shop.is_genuine(TIKTOK_SIGNATURE, "abcdef", TIKTOK_BODY, ["new", "123"])
    assert not tiktok_shop.is_genuine(TIKTOK_SIGNATURE, "abcdef", TIKTOK_BODY, ["new"])


@pytest.mark.parametrize("secrets", [[], [""], ["123", ""]])
def test_without_a_secret_nothing_is_checked_by_an_empty_one(secrets: list[str]) -> None:
    by_nothing = hmac.new(b"", RFC_4231_DATA, hashlib.sha256).hexdigest()

    with pytest.raises(ValueError, match="secret"):
        tiktok_shop.is_genuine(by_nothing, "", RFC_4231_DATA, secrets)
    with pytest.raises(ValueError, match="secret"):
        shopify.is_genuine(by_nothing, RFC_4231_DATA, secrets)
    with pytest.raises(ValueError, match="secret"):
        square.is_genuine(by_nothing, "", RFC_4231_DATA, secrets)


@pytest.mark.parametrize("signature", ["é", "\udcff", "5DEC", f" {TIKTOK_SIGNATURE}", TIKTOK_SIGNATURE.upper()])
def test_a_signature_in_other_letters_is_not_genuine_and_no_error(signature: str) -> None:
    assert not tiktok_shop.is_genuine(signature, "abcdef", TIKTOK_BODY, ["123"])


@pytest.mark.parametrize("url", [f"{SQUARE_URL}/", SQUARE_URL.replace("https", "http"), SQUARE_URL.upper()])
def test_square_signs_the_url_of_the_subscription_byte_for_byte(url: str) -> None:
    assert not square.is_genuine(SQUARE_SIGNATURE, url, SQUARE_BODY, [SQUARE_KEY])


def test_bytes_that_are_no_text_can_be_signed() -> None:
    body = b'{"name":"\xff\xfe"}'

    assert shopify.is_genuine(shopify.webhook_signature(body, "s"), body, ["s"])
    assert square.is_genuine(square.webhook_signature(SQUARE_URL, body, "s"), SQUARE_URL, body, ["s"])
    assert tiktok_shop.is_genuine(tiktok_shop.webhook_signature("k", body, "s"), "k", body, ["s"])


def test_a_call_of_tiktok_is_signed_by_path_sorted_query_and_body() -> None:
    query = [
        ("timestamp", "1623812664"),
        ("app_key", "abcdef"),
        ("shop_cipher", "é +"),
        ("sign", "x"),
        ("access_token", "y"),
    ]
    text = '123/order/202309/orders/searchapp_keyabcdefshop_cipheré +timestamp1623812664{"a":1}123'

    signature = tiktok_shop.request_signature("/order/202309/orders/search", query, b'{"a":1}', "123")

    assert signature == hmac.new(b"123", text.encode(), hashlib.sha256).hexdigest()


def test_a_call_of_tiktok_has_another_signature_by_another_body_path_or_secret() -> None:
    query = [("app_key", "abcdef"), ("timestamp", "1623812664")]
    signatures = {
        tiktok_shop.request_signature("/a", query, b"", "123"),
        tiktok_shop.request_signature("/b", query, b"", "123"),
        tiktok_shop.request_signature("/a", query, b"{}", "123"),
        tiktok_shop.request_signature("/a", query, b"", "124"),
        tiktok_shop.request_signature("/a", [*query, ("page_size", "1")], b"", "123"),
    }

    assert len(signatures) == 5


def test_the_redirect_of_a_merchant_who_consented_is_genuine_in_any_order_of_its_query() -> None:
    signed = "code=0907a61c0c8d55e9&shop=some-shop.myshopify.com&state=0.6784241404160823&timestamp=1337178173"
    signature = hmac.new(b"hush", signed.encode(), hashlib.sha256).hexdigest()
    query = [(name, value) for name, _, value in (pair.partition("=") for pair in signed.split("&"))]

    assert shopify.is_genuine_redirect([*reversed(query), ("hmac", signature)], ["new", "hush"])
    assert not shopify.is_genuine_redirect(query, ["hush"])
    assert not shopify.is_genuine_redirect([*query, ("hmac", signature), ("hmac", signature)], ["hush"])
    assert not shopify.is_genuine_redirect([*query, ("hmac", signature), ("shop", "other.myshopify.com")], ["hush"])
