"""What locations do with shipments: accept, reject, ship, deliver, collect, return, reassign.

Choosing the locations is in `allocation`; the states of a shipment are in `policies.domain.shipments`.
"""
