"""An order and its one allocation: record, identity, SQL, requests and messages.

Decisions about it are in `allocation`.
"""
