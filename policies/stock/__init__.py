"""Stock formulas without I/O.

Counts and movements, feeds, confidence, velocity, unavailable units, claims on short stock and causes of oversells.
Stock levels in the database are in `service.stock`; what a channel may sell of them is in `decisions`.
"""
