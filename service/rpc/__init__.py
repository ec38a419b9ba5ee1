"""What every call has.

Validation, page tokens, idempotency, streams, the interceptor, times and money as messages.
"""
