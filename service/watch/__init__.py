"""Streams of availability and of orders: subscriptions, changes, resume tokens.

The published values are in `availability`; watching the rules folder is in `policy`.
"""
