"""How much a channel may sell: the coalesced stock read, published values, and the changes that may affect them.

The calculation is in `policies.decisions.availability.sellable`; the streams are in `watch`.
"""
