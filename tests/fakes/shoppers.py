"""Made-up people who buy at fake channels, each with what no table and no log of ours may ever hold."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

_FIRST = ("Quillan", "Oriveth", "Sabrielle", "Thandrel", "Ysolda", "Mirabeau", "Corvinna", "Jorunde")
_LAST = ("Featherwick", "Ombersley", "Thackerdine", "Quonsett", "Brindlecombe", "Vantressel", "Hollowmere", "Zinnigrad")
_STREETS = ("Larkspindle Row", "Quarrymoss Lane", "Vellumgate Street", "Ottergill Road")
# Country, region, postal code: what routing needs of an address, and may keep.
_PLACES = (("US", "NY", "10001"), ("US", "CA", "90012"), ("US", "TX", "78701"), ("US", "WA", "98101"))


@dataclass(frozen=True, slots=True)
class Shopper:
    """A person: what only the channel may know, and where parcels go."""

    first_name: str
    last_name: str
    street: str
    phone: str
    mail: str
    nickname: str
    country: str
    region: str
    postal_code: str

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first_name} {self.last_name}"

    def personal_data(self) -> tuple[str, ...]:
        """Every text by which this person could be found, each long enough to be found by searching for it."""
        return (self.last_name, self.street, self.phone, self.mail, self.nickname)


class Shoppers:
    """People in an order that a seed decides, no two alike."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.seen: list[Shopper] = []

    def next(self) -> Shopper:
        """Somebody new."""
        number = len(self.seen) + 1
        first, last = self._random.choice(_FIRST), f"{self._random.choice(_LAST)}{number:04}"
        country, region, postal_code = self._random.choice(_PLACES)
        shopper = Shopper(
            first,
            last,
            f"{1000 + number} {self._random.choice(_STREETS)}",
            f"+1555{self._random.randrange(10**6):06}{number % 10}",
            f"{first}.{last}@shopper.example".lower(),
            f"{first}_{last}_buys".lower(),
            country,
            region,
            postal_code,
        )
        self.seen.append(shopper)
        return shopper

    def personal_data(self) -> list[str]:
        """What must not be found anywhere of all who have bought."""
        return [text for shopper in self.seen for text in shopper.personal_data()]
