"""What can go wrong between a channel and Truestock, by what to do about it.

ChannelError
├── Away                try again later: unreachable, overloaded or throttled; says nothing about the content
│   └── NotYet          the channel works, and has not yet said all that it will say of an entity
├── AuthorizationLost   a person must connect the account again
├── Unmapped            waits for a listing, an outlet or a setting; then it works
│   └── NotArrived      its order is none that Truestock knows
├── ForAPerson          parked at once, because another look says the same
│   ├── Unlinked        a copy that does not say of which order
│   └── LeftBefore      of an order that left before the connectors knew its shop
└── Unreadable          content that cannot be understood or that Truestock refuses; parked after a few attempts

The message of each is for people, and has no personal data.
"""

from __future__ import annotations

from service.channels.plain_text import plain_line

LONGEST_MESSAGE = 1_000


class ChannelError(Exception):
    """Something between a channel and Truestock failed; the message is for people and has no personal data."""

    def __init__(self, message: str) -> None:
        # It may repeat what a platform said, and it is stored and told to people.
        super().__init__(plain_line(message, LONGEST_MESSAGE))


class Away(ChannelError):
    """The channel or Truestock does not answer now. `retry_after_seconds` is how long it asks to be left alone."""

    def __init__(self, message: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class NotYet(Away):
    """The channel will say more of an entity soon, and it means nothing before that."""


class AuthorizationLost(ChannelError):
    """The shop does not accept the account's tokens any more, and they cannot be refreshed."""


class Unmapped(ChannelError):
    """Truestock does not know yet what an item, an outlet or a return of the channel is."""


class NotArrived(Unmapped):
    """Something of an order that Truestock does not know."""

    def __init__(self, order_id: str) -> None:
        super().__init__(f"order {order_id} has not arrived yet")
        self.order_id = order_id


class ForAPerson(ChannelError):
    """What only a person can do something about."""


class LeftBefore(ForAPerson):
    """Something of an order of which Truestock has nothing, because it left before the connectors knew its shop."""


class Unlinked(ForAPerson):
    """An order that another connector made, and that does not say of which order it is a copy."""


class Unreadable(ChannelError):
    """Content that is not as the channel documents it, or that Truestock refuses."""
