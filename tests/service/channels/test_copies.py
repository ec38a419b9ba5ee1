"""Orders that another connector makes in a shop, and how they say of which order they are."""

from __future__ import annotations

from datetime import timedelta

import pytest

from policies.domain.channel_statuses import ORIGINAL_IS_DUE
from service.channels.accounts_file import AccountsFileError, read_accounts
from service.channels.copies import Copies, CopyMark, CopyPlace, OrderTexts, Original
from service.channels.effects import CancelUnits, Hold, TakeOrder
from service.channels.platforms import installed_platforms
from service.channels.shopify import words
from tests.service.channels.test_shopify_words import line, order

TIKTOK_ID = "577000000000000001"
FILE = """
token_keys: {env: TOKEN_KEYS}
accounts:
  - name: shopify-us
    platform: shopify
    channel: shopify
    shop: mugs.myshopify.com
    public_url: https://hooks.example.com
    secrets: {client_id: {env: ID}, client_secret: {env: SECRET}}
    copies:
      - of: tiktok_shop
        source_names: [tiktok, "2329312"]
        order_id:
          - {in: name, like: "TT-{order_id}"}
          - {in: note, like: "TikTok order {order_id}"}
          - {in: attribute, attribute: TikTok Order ID}
          - {in: source_identifier}
"""
COPIES = Copies(
    "tiktok_shop",
    frozenset({"tiktok", "2329312"}),
    (
        CopyMark(CopyPlace.NAME, "TT-{order_id}"),
        CopyMark(CopyPlace.NOTE, "TikTok order {order_id}"),
        CopyMark(CopyPlace.ATTRIBUTE, attribute="TikTok Order ID"),
        CopyMark(CopyPlace.SOURCE_IDENTIFIER),
    ),
)


def texts(source: str = "tiktok", attributes: dict[str, str] | None = None, **by_place: str) -> OrderTexts:
    return OrderTexts(source, {CopyPlace(name): text for name, text in by_place.items()}, attributes or {})


def test_the_accounts_file_says_where_a_copy_has_the_id_of_its_original() -> None:
    (account,) = read_accounts("channels.yaml", FILE.encode(), installed_platforms()).accounts

    assert account.copies == (COPIES,)


@pytest.mark.parametrize(
    ("was", "written", "problem"),
    [
        ("{order_id}-?", "", "'like' must have {order_id} once"),
        ("{in: attribute, attribute: TikTok Order ID}", "{in: attribute}", "'attribute' goes with 'in: attribute'"),
        (', like: "TikTok order {order_id}"', "", "any word of a note could be an id"),
        ("in: name", "in: email", "'in' cannot be 'email'"),
        ('        source_names: [tiktok, "2329312"]\n', "", "an entry of 'copies' has no 'source_names'"),
    ],
)
def test_a_mark_that_cannot_be_told_apart_is_refused(was: str, written: str, problem: str) -> None:
    text = FILE.replace("TT-{order_id}", "TT-") if was == "{order_id}-?" else FILE.replace(was, written)

    with pytest.raises(AccountsFileError, match=problem.replace("{", r"\{").replace("}", r"\}")):
        read_accounts("channels.yaml", text.encode(), installed_platforms())


def test_only_a_shop_that_connectors_write_to_can_have_copies() -> None:
    tiktok = FILE.replace("platform: shopify", "platform: tiktok_shop").replace(
        "{client_id: {env: ID}, client_secret", "{app_key: {env: ID}, app_secret"
    )

    with pytest.raises(AccountsFileError, match="'copies' cannot be stated of tiktok_shop"):
        read_accounts("channels.yaml", tiktok.encode(), installed_platforms())


@pytest.mark.parametrize(
    "stated",
    [
        texts(name=f"TT-{TIKTOK_ID}"),
        texts(note=f"Fragile!\nTikTok order {TIKTOK_ID}, gift"),
        texts(attributes={"TikTok Order ID": f" {TIKTOK_ID} "}),
        texts("2329312", source_identifier=TIKTOK_ID),
    ],
)
def test_a_copy_names_its_original_in_its_name_its_note_an_attribute_or_its_source(stated: OrderTexts) -> None:
    assert COPIES.original(stated) == Original("tiktok_shop", TIKTOK_ID)


def test_a_shopper_who_writes_an_order_id_into_a_note_has_made_no_copy() -> None:
    assert COPIES.original(texts("web", note=f"TikTok order {TIKTOK_ID}")) is None


def test_an_order_of_a_connector_without_an_id_is_a_copy_of_nobody_knows_which() -> None:
    assert COPIES.original(texts(name="#1001")) == Original("tiktok_shop", "")


def test_of_a_copy_only_the_link_is_told_and_it_waits_for_its_original_which_tells_the_rest() -> None:
    copy = order(line(), name=f"TT-{TIKTOK_ID}", sourceName="tiktok", displayFulfillmentStatus="ON_HOLD")

    (effect,) = words.order_reading(copy, [], [COPIES]).effects

    assert isinstance(effect, TakeOrder)
    assert (effect.original, effect.status) == (Original("tiktok_shop", TIKTOK_ID), "")
    assert effect.hold == Hold(ORIGINAL_IS_DUE, effect.update_time + timedelta(hours=2))


def test_a_copy_that_is_cancelled_cancels_nothing_and_one_without_copies_stated_does() -> None:
    cancelled = order(line(), sourceName="tiktok", name=f"TT-{TIKTOK_ID}", cancelledAt="2026-03-01T11:00:00Z")

    assert words.order_reading(cancelled, [], [COPIES]).effects == ()
    assert any(isinstance(effect, CancelUnits) for effect in words.order_reading(cancelled, []).effects)
