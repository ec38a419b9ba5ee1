"""What locations do with shipments: accept, ship, deliver, reject, pick up, return, reassign.

Planning is in `allocation`.
"""
