"""Decisions as they are stored, forgotten and replayed, and as messages of the API.

Making them is in `policies.decisions`.
"""
