"""What operators see of a service beside its metrics: the log, the lines of calls, and traces.

Nothing here holds what a caller sent: see `docs/operations.md`. Metrics are in `service.metrics`.
"""
