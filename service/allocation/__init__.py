"""Decides which locations fulfill an order: queue, batch, order intake, planner, rerouting, backorders, cancellation.

The SQL of orders is in `orders`; the routing decision is in `policies.decisions`.
"""
