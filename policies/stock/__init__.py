"""Stock formulas without I/O.

Counts and movements, feeds, confidence, velocity, unavailable units, and the causes of an oversell. Stock levels in
the database are in `service.stock`.
"""
