"""Finds the installed platforms by the entry point `truestock.channels`."""

from __future__ import annotations

from importlib.metadata import entry_points

from service.channels.adapter import Platform

GROUP = "truestock.channels"


def installed_platforms() -> dict[str, Platform]:
    """All platforms by name, those of other packages included. Raises ImportError for one that does not load."""
    platforms = (point.load() for point in entry_points(group=GROUP))
    return {platform.name: platform for platform in platforms}
