"""What a channel may sell: at one location, over all of them, in its outlets, and in its own items.

What one order may use is in `policies.decisions.order_limits`.
"""
