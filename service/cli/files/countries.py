"""Country names as people write them, to ISO 3166-1 alpha-2."""

from __future__ import annotations

from functools import lru_cache

import pycountry

# Names that order files really have and ISO's own tables do not.
_ALSO_KNOWN_AS = {
    "eire": "IE",
    "republic of ireland": "IE",
    "uk": "GB",
    "great britain": "GB",
    "england": "GB",
    "scotland": "GB",
    "wales": "GB",
    "northern ireland": "GB",
    "u.s.a.": "US",
    "u.s.": "US",
    "united states of america": "US",
    "rsa": "ZA",
    "russia": "RU",
    "korea": "KR",
    "turkey": "TR",
    "holland": "NL",
    "the netherlands": "NL",
    "ivory coast": "CI",
    "uae": "AE",
    "macau": "MO",
    "burma": "MM",
    "swaziland": "SZ",
    "cape verde": "CV",
    "macedonia": "MK",
}


@lru_cache(maxsize=4_096)
def country_code(name: str) -> str | None:
    """`GB` for 'United Kingdom', 'UK', 'gb' or 'GBR'; None for a name that is no single country."""
    wanted = " ".join(name.split())
    if not wanted:
        return None
    if known := _ALSO_KNOWN_AS.get(wanted.lower()):
        return known
    try:
        return str(pycountry.countries.lookup(wanted).alpha_2)
    except LookupError:
        return None
