"""Settings of a service or a database, from the flags of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from service.settings import Settings


def settings_of(**given: object) -> Settings:
    """Settings from the given flags; the environment and the defaults set the others. Raises BadParameter."""
    from pydantic import ValidationError

    from service.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}" for item in error.errors()
        )
        raise typer.BadParameter("; ".join(problems)) from error
