"""Decisions as they are stored, purged, replayed and sent as API messages.

Decisions are made in `policies.decisions`.
"""
