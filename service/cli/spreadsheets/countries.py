"""Converts country names as people write them to ISO 3166-1 alpha-2 codes."""

from __future__ import annotations

from functools import lru_cache

import pycountry

# Names that appear in real order files but not in the ISO tables.
_OTHER_NAMES = {
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
    """`GB` for 'United Kingdom', 'UK', 'gb' or 'GBR'; None for a name that is not a single country."""
    text = " ".join(name.split())
    if not text:
        return None
    if code := _OTHER_NAMES.get(text.lower()):
        return code
    try:
        return str(pycountry.countries.lookup(text).alpha_2)
    except LookupError:
        return None
