"""Whatever text a platform answers with, it costs what it is about, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from service.channels.adapter import Delivery, Hint
from service.channels.errors import Unreadable
from service.channels.plain_text import plain_line
from service.rpc.validation import Fields
from tests.connector_site import ACCOUNT, Site, until

UNKNOWN_ORDER = "9" * 18


@given(st.text(st.characters(), max_size=700))
def test_what_a_platform_says_is_a_text_that_the_database_and_the_api_take(said: str) -> None:
    message, description = str(Unreadable(said)), plain_line(said, 256)

    assert "\0" not in message
    message.encode()
    fields = Fields()
    fields.text("description", description)
    fields.finish()
    assert plain_line(description, 256) == description


@pytest.mark.long
async def test_whatever_a_platform_says_one_order_is_parked_with_an_exception(site: Site) -> None:
    said = f"it\0 failed\n{'x' * 150}{' ' * 100}y"
    async with site.running(subscribe=False, poll_seconds=3_600):
        sound = site.shop.books.buy({"MUG": 1})
        await until(lambda: site.order(sound.id))
        await site.store.inbox.accept(ACCOUNT, [Delivery("9", "type_1", (Hint("order", UNKNOWN_ORDER),))])
        # One for each attempt: this order alone is due.
        site.shop.conditions.failures.extend([(200, 12_345, said)] * 5)
        raised = await until(site.retailer.open_exceptions)

    assert [UNKNOWN_ORDER in found.description for found in raised] == [True]
