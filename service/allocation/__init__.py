"""Decides which location fulfills what.

Queue, batch, order intake, planner, rerouting, backorders and cancellation. The SQL of orders is in `orders`; the
routing decision itself is in `policies.decisions`.
"""
