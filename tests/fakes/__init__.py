"""Channels as real HTTP servers that keep a shop's own books; none of our code is in them.

The books say what was really sold, and the servers speak the vendors' protocols, which the vendors' own clients confirm
(`test_vendor_clients.py`).
"""
