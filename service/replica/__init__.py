"""Reads that promise nothing, from a streaming replica of the database while it is not too far behind."""
