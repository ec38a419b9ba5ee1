"""Writes or checks the JSON Schemas in rules/schema/, with which editors complete and check rule files.

`python -m tools.schema generate` writes them; `check` fails if they differ from the code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from policies.schema.rule_schema import SCHEMAS

FOLDER = Path(__file__).parents[1] / "rules" / "schema"


def main() -> str | None:
    """Runs the action on the command line; returns an error message, or None."""
    actions = {"generate": generate, "check": check}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        return f"usage: python -m tools.schema {'|'.join(actions)}"
    return actions[sys.argv[1]]()


def generate() -> None:
    """Writes every schema and deletes files of schemas that no longer exist."""
    FOLDER.mkdir(exist_ok=True)
    for name in present_files().keys() - expected_files().keys():
        (FOLDER / name).unlink()
    for name, text in expected_files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def check() -> str | None:
    """Compares the files with what `generate` would write."""
    expected, present = expected_files(), present_files()
    names = expected.keys() | present.keys()
    stale = sorted(name for name in names if expected.get(name) != present.get(name))
    return f"Schemas differ from the code: {', '.join(stale)}. Run make schema." if stale else None


def expected_files() -> Mapping[str, str]:
    """The texts that the files should have, by file name."""
    return {f"{name}.schema.json": json.dumps(schema(), indent=1) + "\n" for name, schema in SCHEMAS.items()}


def present_files() -> Mapping[str, str]:
    """The texts that the files have, by file name."""
    return {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.schema.json")}


if __name__ == "__main__":
    sys.exit(main())
