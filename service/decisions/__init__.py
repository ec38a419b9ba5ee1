"""Decisions: stored, purged, replayed, and as messages of the API.

Making them is in `policies.decisions`.
"""
