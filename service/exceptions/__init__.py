"""Exceptions and incidents: model, raising, superseding, SQL, requests and messages.

Resolving them is in `resolution`; Python exceptions are in `errors`.
"""
