"""What a channel may sell.

Reads of current stock, the figures last published to each channel, and the changes that may have altered them. The
formula is in `policies.decisions.sellable`; streams are in `watch`.
"""
