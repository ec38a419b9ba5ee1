"""Settings of a service or a database, from the flags of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from service.settings import Settings

_EITHER_FLAG = ({"database_url", "database_url_file"}, {"read_database_url", "read_database_url_file"})


def settings_of(**given: object) -> Settings:
    """Settings from the given flags; the environment and the defaults set the others. Raises BadParameter."""
    from pydantic import ValidationError

    from service.settings import Settings

    flags = {name: value for name, value in given.items() if value is not None}
    for names in _EITHER_FLAG:
        if len(names & flags.keys()) == 1:
            # The flag that names the database overrides both variables that may name one.
            flags = dict.fromkeys(names) | flags
    try:
        return Settings(**flags)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = (
            ": ".join([*map(str, item["loc"]), item["msg"].removeprefix("Value error, ")]) for item in error.errors()
        )
        raise typer.BadParameter("; ".join(problems)) from error
