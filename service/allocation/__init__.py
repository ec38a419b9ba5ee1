"""Decides which location fulfills what.

Queue, batch, order intake, planner, rerouting, backorders, cancellation. SQL of orders is in `orders`; the routing
decision itself is in `policies.decisions`.
"""
