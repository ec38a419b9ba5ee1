"""Writes or checks the JSON Schemas in rules/schema/, by which editors complete and underline rule files.

`python -m tools.schema generate` writes them anew; `check` fails where they are not what the code says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from policies.schema.rule_schema import SCHEMAS

FOLDER = Path(__file__).parents[1] / "rules" / "schema"


def main() -> str | None:
    """Do what the command line says; the answer is what went wrong."""
    actions = {"generate": generate, "check": check}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        return f"usage: python -m tools.schema {'|'.join(actions)}"
    return actions[sys.argv[1]]()


def generate() -> None:
    """Write every schema anew, and remove those that there are no longer."""
    FOLDER.mkdir(exist_ok=True)
    for name in kept().keys() - fresh().keys():
        (FOLDER / name).unlink()
    for name, text in fresh().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def check() -> str | None:
    """Compare the files with what would be written."""
    made, there = fresh(), kept()
    stale = sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))
    return f"Schemas are not those of the code: {', '.join(stale)}. Run make schema." if stale else None


def fresh() -> Mapping[str, str]:
    """What the files are to hold, by name."""
    return {f"{name}.schema.json": json.dumps(make(), indent=1) + "\n" for name, make in SCHEMAS.items()}


def kept() -> Mapping[str, str]:
    """What they hold."""
    return {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.schema.json")}


if __name__ == "__main__":
    sys.exit(main())
