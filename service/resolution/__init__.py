"""Resolves exceptions: by a person, by time (escalation, lateness) and by policy.

Raising and storing them is in `exceptions`.
"""
