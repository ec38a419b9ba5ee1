"""What every call shares: validation, page tokens, idempotency, streams, the call interceptor, times and money.

The requests and messages of one domain are in its package; the errors are in `errors`.
"""
