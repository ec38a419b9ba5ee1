"""The audit log: who changed what, written with the change, sealed into a hash chain and checked.

What changes writes its own events by `audit_log.record`. Pages of the log are in `history`.
"""
