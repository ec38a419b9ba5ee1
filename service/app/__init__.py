"""One running service: start and stop, wiring, process, housekeeping, health probe and /metrics.

Contains no business; periodic business work is in its domain, such as `resolution`.
"""
