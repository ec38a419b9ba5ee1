"""What channels do with requests to cancel that nobody has answered."""

from __future__ import annotations

from policies.domain.cancellation_defaults import PLATFORM_DEFAULTS, default_answer
from policies.domain.channel_statuses import PLATFORMS
from policies.domain.model import CANCELLATION_ANSWERS, Channel


def test_every_platform_has_an_answer() -> None:
    assert PLATFORM_DEFAULTS.keys() == set(PLATFORMS)
    assert set(PLATFORM_DEFAULTS.values()) <= set(CANCELLATION_ANSWERS)


def test_a_channel_answers_as_it_states_itself_or_as_its_platform_does_or_not_at_all() -> None:
    assert default_answer(Channel("door", "social", platform="tiktok_shop")) == "accept"
    assert (
        default_answer(Channel("door", "social", platform="tiktok_shop", cancellation_default="decline")) == "decline"
    )
    assert default_answer(Channel("door", "web", cancellation_default="accept")) == "accept"
    assert default_answer(Channel("door", "web")) == "decline"
