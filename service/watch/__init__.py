"""Streams of availability and of orders: subscriptions, what changed, resume tokens."""
