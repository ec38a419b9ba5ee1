"""An order and its one allocation: record, identity, SQL, requests and messages.

Decisions about orders are in `allocation`.
"""
