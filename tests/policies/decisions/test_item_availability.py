"""Sellable items: never more than what whole items of the units at each location make up."""

from __future__ import annotations
