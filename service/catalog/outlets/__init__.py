"""Outlets of channels, and the pools of locations that they are: checks, edits and SQL."""
