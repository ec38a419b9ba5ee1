"""Kits: how many of them a channel may sell, and how many an order may use.

Where the kits of an order are placed is in `policies.decisions.parts`; what a kit is, in `policies.domain.kits`.
"""
