"""Truestock's edge: gRPC, PostgreSQL, metrics and the command line."""
