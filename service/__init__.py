"""The Truestock service: gRPC API, PostgreSQL, metrics and the command line.

The rules engine and the decisions, which use no network, database or clock, are in `policies`.
"""
