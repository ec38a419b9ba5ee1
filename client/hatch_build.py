"""Puts the stubs into the packages that are built: those of the repository, or of the sdist that is built from."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Stubs(BuildHookInterface[Any]):
    """The package `truestock`, from `protos/` of the repository or from the root of an unpacked sdist."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the folder to the files of the wheel or the sdist."""
        root = Path(self.root)
        repository, sdist = root.parent / "protos" / "truestock", root / "truestock"
        build_data["force_include"][str(sdist if sdist.is_dir() else repository)] = "truestock"
