"""What only PostgreSQL on one node knows is listed in deploy/, and no use of it comes into the code unseen."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import pytest

from tests.conftest import REPOSITORY

LIST = REPOSITORY / "deploy" / "single-node-postgresql.toml"
SCALING = REPOSITORY / "deploy" / "SCALING.md"
NO_STATEMENTS = {"pg_basebackup", "pg_dump", "pg_hba"}
"""Names of files and programs."""
UNUSED = re.compile(r"\b(LISTEN|NOTIFY|add_listener|pg_notify|EXCLUDE USING|DEFERRABLE|TABLESAMPLE)\b")
"""What other databases lack and we do without."""
LISTED = tomllib.loads(LIST.read_text(encoding="utf-8"))


def modules() -> Iterator[tuple[str, str]]:
    """Every module of the service and its code; migrations count too, because they make the schema."""
    for path in sorted((REPOSITORY / "service").rglob("*.py")):
        yield path.relative_to(REPOSITORY).as_posix(), path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", LISTED)
def test_each_use_of_what_one_node_knows_is_listed(name: str) -> None:
    words = re.compile("|".join(rf"\b{re.escape(word)}\b" for word in LISTED[name]["words"]))

    assert [module for module, code in modules() if words.search(code)] == LISTED[name]["modules"]


def test_each_word_of_postgresql_itself_is_listed() -> None:
    known = {word for entry in LISTED.values() for word in entry["words"]} | NO_STATEMENTS

    found = {word for _, code in modules() for word in re.findall(r"\bpg_[a-z_]+\b", code)}

    assert found <= known, found - known


def test_each_listed_word_is_in_the_code() -> None:
    code = "\n".join(code for _, code in modules())

    assert [word for entry in LISTED.values() for word in entry["words"] if word not in code] == []


def test_nothing_that_other_databases_lack_altogether_is_used() -> None:
    assert [(module, found[0]) for module, code in modules() if (found := UNUSED.search(code))] == []


def test_the_guide_to_scaling_has_a_replacement_for_each() -> None:
    guide = SCALING.read_text(encoding="utf-8")

    assert [name for name in LISTED if f"`{name}`" not in guide] == []
