"""The seven gRPC services, one module each: check, do, answer. No SQL and no rules."""
