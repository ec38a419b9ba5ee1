"""The seven gRPC services, one module each: check the request, call an operation, return the response.

Contains no SQL and no rules: requests, operations and SQL are in the packages of their domains.
"""
