"""Cancellations that wait for their order, and requests to cancel: as records and in PostgreSQL."""
