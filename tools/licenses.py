"""Lists the license of every installed package, and fails for one that is not permitted: `python -m tools.licenses`."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parent.parent / "uv.lock"
PROJECT = "truestock"
PERMITTED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU"),
    # Whoever changes a file of it publishes that file; we change none.
    "MPL-2.0",
    *("PSF-2.0", "Zlib"),
}
"""SPDX names of licenses that ask for no more than a notice of whoever passes a package on unchanged."""
EXCEPTIONS = {
    "countrystatecity-countries": "ODbL-1.0: data that are read unchanged; a changed copy would have to be published",
    "pycountry": "LGPL-2.1-only: imported unchanged, as a package of its own that anybody may replace",
}
"""Packages with another license, each with that and why it may be used all the same."""
_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_WORDS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
}
"""How packages without classifiers spell their license."""


@dataclass(frozen=True, slots=True)
class PackageLicense:
    """The license of one installed package, as an SPDX expression as far as it is known."""

    name: str
    version: str
    license: str
    serves: bool
    """Whether it is part of a service, and not only of development."""

    @property
    def is_permitted(self) -> bool:
        """Whether it may be used."""
        return self.name in EXCEPTIONS or is_permitted(self.license)


def is_permitted(expression: str) -> bool:
    """Whether one of the alternatives of an SPDX expression is permitted in all its parts."""
    alternatives = expression.replace("(", "").replace(")", "").split(" OR ")
    return any(all(part.strip() in PERMITTED for part in x.split(" AND ")) for x in alternatives)


def license_of(package: Distribution) -> str:
    """The license that a package states; what it says in its own words if these are not known."""
    metadata = package.metadata
    if expressions := metadata.get_all("License-Expression"):
        return str(expressions[0])
    classifiers = [str(x).rpartition(" :: ")[2] for x in metadata.get_all("Classifier") or () if "License ::" in str(x)]
    if classifiers:
        return " OR ".join(_CLASSIFIERS.get(name, name) for name in classifiers)
    words = str(next(iter(metadata.get_all("License") or ()), "unknown")).strip().partition("\n")[0]
    return _WORDS.get(words, words)


def installed() -> list[PackageLicense]:
    """Every installed package by name, but our own, vendors' clients and Locust, which no plain installation has."""
    lock = tomllib.loads(LOCK.read_text(encoding="utf-8"))
    serving, developing = _serving(lock), _of_group(lock, "dev")
    optional = _of_group(lock, "vendors") | _of_group(lock, "load")
    found = {_normal(package.metadata["Name"]): package for package in distributions()}
    return [
        PackageLicense(name, package.version, license_of(package), name in serving)
        for name, package in sorted(found.items())
        if not name.startswith(PROJECT) and name not in optional - serving - developing
    ]


def _serving(lock: Mapping[str, Any]) -> set[str]:
    """The packages that the project needs to run, with all its extras."""
    project = next(package for package in lock["package"] if package["name"] == PROJECT)
    return _closure(lock, _needed(project, project.get("optional-dependencies", {})))


def _of_group(lock: Mapping[str, Any], group: str) -> set[str]:
    """The packages of a dependency group, with all that these need."""
    project = next(package for package in lock["package"] if package["name"] == PROJECT)
    return _closure(lock, _needed({"dependencies": project.get("dev-dependencies", {}).get(group, ())}, ()))


def _closure(lock: Mapping[str, Any], waiting: list[tuple[str, frozenset[str]]]) -> set[str]:
    packages = {package["name"]: package for package in lock["package"]}
    found: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) not in found:
            found.add((name, extras))
            waiting += _needed(packages[name], extras)
    return {name for name, _ in found}


def _needed(package: Mapping[str, Any], extras: Iterable[str]) -> list[tuple[str, frozenset[str]]]:
    """What a package needs with these extras of it: names, each with the extras that it asks for."""
    optional = package.get("optional-dependencies", {})
    needed = [*package.get("dependencies", ()), *(x for extra in extras for x in optional.get(extra, ()))]
    return [(x["name"], frozenset(x.get("extra", ()))) for x in needed]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    """Prints the list; 1 if a license is not permitted."""
    packages = installed()
    for package in packages:
        where = "service" if package.serves else "development"
        print(f"{package.name:36} {package.version:16} {where:12} {EXCEPTIONS.get(package.name, package.license)}")
    refused = [package for package in packages if not package.is_permitted]
    for package in refused:
        print(
            f"{package.name} has the license '{package.license}', which tools/licenses.py does not permit: use another "
            "package, or add the license to PERMITTED or the package, with the reason, to EXCEPTIONS",
            file=sys.stderr,
        )
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
