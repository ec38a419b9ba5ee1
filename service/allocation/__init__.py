"""Decides which locations fulfill an order: queue, batch, planner, and the life of holds.

Orders as they arrive are in `intake`, their later plans in `replanning`. The SQL of orders is in `orders`; the routing
decision is in `policies.decisions`.
"""
